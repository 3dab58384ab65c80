// Package schemas embeds the contracts of the gateway: XSD, passports, message catalogues,
// OpenAPI and examples. It holds data only; whoever reads a file checks it.
package schemas

import "embed"

// FS holds every contract under its path in this folder.
//
//go:embed openapi.yaml passport.schema.json *.xsd calendar.yaml passports messages registers/*.xsd shep/*.xsd shep/*.wsdl examples
var FS embed.FS
