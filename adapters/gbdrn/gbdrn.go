// Package gbdrn asks ГБД РН for registered rights to housing.
//
// No public schema of this register exists: the messages are the project's own stand-in,
// schemas/registers/gbdrn.xsd.
package gbdrn

import (
	"egov-gateway/adapters/register"
	"egov-gateway/gateway"
)

// Config says where the register is and who asks.
type Config = register.Config

// A Source asks the register. It is safe for concurrent use.
type Source struct{ *register.Register }

// New checks c and makes a Source.
func New(c Config) (*Source, error) {
	r, err := register.New("gbdrn", []gateway.RecordKind{gateway.RecordProperty}, register.StandIn("gbdrn", record()), c)
	if err != nil {
		return nil, err
	}
	return &Source{r}, nil
}

// record is what the register answers after its frame.
func record() register.Field {
	return register.Field{Name: "rights", Of: []register.Field{{Name: "right", Max: 200, Of: []register.Field{
		register.One("cadastralNumber", register.String),
		register.One("objectKind", register.OneOf("flat", "house", "room")),
		register.One("territory", register.KATO),
		register.One("address", register.String),
		register.One("areaSquareMetres", register.Match(`[0-9]{1,6}(\.[0-9]{1,2})?`)),
		register.One("rightKind", register.OneOf("ownership", "shared-ownership", "use")),
		register.One("share", register.Match(`[1-9][0-9]{0,3}/[1-9][0-9]{0,3}`)),
		register.One("registeredOn", register.Date),
		register.Maybe("endedOn", register.Date),
	}}}}
}
