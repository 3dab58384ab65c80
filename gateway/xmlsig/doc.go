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
// size, depth, attributes and namespaces ([Limits]).
//
// # Signatures
//
// Three profiles: [ProfileDocument] (one enveloped signature over the whole document),
// [ProfileCoSigned] (several, one after the other, as the provider signs what the citizen
// signed) and [ProfileWSSE] (WS-Security over the SOAP Body). Everything outside them is
// refused with a [gateway.Reason] of its own, before any cryptography is done.
//
// The package says nothing about who the signer is: path, validity, purpose and revocation
// of the certificate are decided elsewhere.
//
// Sources: XML 1.0 5th ed., Namespaces in XML 1.0 3rd ed., Canonical XML 1.0 and 1.1,
// Exclusive XML Canonicalization 1.0, XML Signature 1.1, WS-Security 1.0 with the X.509 token
// profile.
package xmlsig
