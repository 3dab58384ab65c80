// Package gateway holds the words of the field: IIN, BIN, Reason, Verdict, Request, Fact,
// Event, Dossier. It imports the standard library only and does no I/O.
//
// The packages below it are the way of a request, in this order:
//
//  1. [egov-gateway/gateway/intake] takes the signed XML and its copies from the portal,
//     which it knows by a token or a client certificate. Package channel does the same for
//     portals and gateways that speak SHEP, and carries what comes back to them. Package
//     admission says, at every door, how much of it one caller may take.
//  2. [egov-gateway/gateway/xmlsig] scans the bytes strictly and verifies the signature;
//     after it, only what was signed can be reached.
//  3. [egov-gateway/gateway/trust] judges the certificate: path, validity, purpose.
//  4. [egov-gateway/gateway/identity] binds the certificate's IIN, or BIN, to the request.
//  5. [egov-gateway/gateway/revocation] proves by OCSP or CRL that nothing was revoked.
//     Package verification makes these checks in one go and lists all six in a [Verdict].
//  6. [egov-gateway/gateway/passport] checks the form against the service's passport, and
//     computes registration and deadlines from the working calendar.
//  7. [egov-gateway/gateway/route] finds region, shard and provider.
//  8. [egov-gateway/gateway/journal] keeps it all; only then the portal gets its 202 and the
//     signed receipt. From here on the work is durable: package pipeline claims it, runs
//     the steps that package flow orders, and records every outcome.
//  9. [egov-gateway/gateway/enrich] fetches the records that the citizen consented to from
//     state information systems, through the adapters.
//  10. [egov-gateway/gateway/dispatch] delivers the original signed bytes with the records to
//     the provider, and takes its steps and its signed result, which pass 2 to 5 again. A
//     provider of another region is reached through that region's gateway.
//  11. [egov-gateway/gateway/cabinet] shows the citizen the notice, the steps and the result.
//
// A refusal at any of 1 to 7 is a [Reason], answered in three languages, and nothing is kept
// but an audit entry.
package gateway
