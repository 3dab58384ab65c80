// Package xmlsig decides whether an XML document is what its signer signed.
//
// Untrusted bytes meet one strict scanner ([Scan]) that turns them into flat tokens in a
// single pass, in time linear in their length. The same tokens serve the canonical form, the
// signature, the uniqueness of Ids, the form rules and the reading of fields: nothing is
// parsed twice, so there is no second parser to disagree with the first. [Verify] returns a
// view of exactly the tokens that were hashed, without the signature.
//
// # Bytes
//
// UTF-8 with an optional byte order mark, XML 1.0 (5th edition) with Namespaces 1.0. No
// document type declaration, no processing instruction, no relative namespace name. Bounded
// size, depth, attributes and namespaces ([Limits]). What is digested or canonicalised is at most
// three times as long as the document for each signature, else [gateway.DocumentLimit]: work for
// what is not yet believed grows with its length alone.
//
// # Signatures
//
// Three profiles: [ProfileDocument] (one enveloped signature over the whole document),
// [ProfileCoSigned] (several, one after the other, as the provider signs what the citizen
// signed) and [ProfileWSSE] (WS-Security over the SOAP Body). Everything outside them is
// refused with a [gateway.Reason] of its own, before any cryptography is done.
//
//	                document               co-signed              wsse
//	signatures      1                      1 to 8                 1 outside the Body
//	place           child of the root      children of the root   Header/wsse:Security
//	reference       "" or the root's Id    "" or the root's Id    the Id of the one Body
//	transforms      enveloped-signature, then at most one c14n    at most one c14n
//	certificate     X509Data, exactly one                         KeyIdentifier, BinarySecurityToken,
//	                                                              X509Data with exactly one, or with the
//	                                                              X509IssuerSerial of a known one
//
// Refused in all: ds:Object, Manifest, external references and XPointer ([gateway.SignatureReference],
// [gateway.SignatureStructure]); XSLT, XPath and every other transform ([gateway.SignatureTransform]);
// an Id that stands in more than one id-like attribute ([gateway.SignatureIDAmbiguous]); KeyValue,
// KeyName, RetrievalMethod and several certificates ([gateway.SignatureKeyInfo]), because a key is
// believed for its certificate only. Comments are never signed and never shown.
//
// # Algorithms
//
//	signature method        key                          digest of the reference
//	rsa-sha256, -384, -512  RSA 2048 to 8192, e = 65537  SHA-256, SHA-384, SHA-512
//	gostr34102015-512       GOST 34.10-2015, 512 bits    Streebog-512
//	gost34310-gost34311     GOST 34.310-2004, 256 bits   GOST 34.311-95; only with AllowGOST2004
//
// Canonical XML 1.0 and 1.1 and exclusive canonicalisation with InclusiveNamespaces, each with
// and without comments. Everything else is [gateway.SignatureAlgorithm]: SHA-1 and MD5 because
// they are broken, HMAC because no secret is shared, DSA, ECDSA and RSA-PSS because the NCA
// issues no such keys. A method that does not go with the kind of the certificate's key is
// [gateway.SignatureKeyMismatch] before anything is computed with the key.
//
// The package says nothing about who the signer is: path, validity, purpose and revocation
// of the certificate are decided elsewhere.
//
// Sources: XML 1.0 5th ed., Namespaces in XML 1.0 3rd ed., Canonical XML 1.0 and 1.1,
// Exclusive XML Canonicalization 1.0, XML Signature 1.1, WS-Security 1.0 with the X.509 token
// profile.
package xmlsig
