// Package alimony asks for alimony for children and other dependants, paid or received.
//
// No public schema of this register exists: the messages are the project's own stand-in,
// schemas/registers/alimony.xsd.
package alimony

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
	r, err := register.New("alimony", []gateway.RecordKind{gateway.RecordAlimony}, register.StandIn("alimony", record()), c)
	if err != nil {
		return nil, err
	}
	return &Source{r}, nil
}

// record is what the register answers after its frame.
func record() register.Field {
	return register.Field{Name: "orders", Of: []register.Field{{Name: "order", Max: 100, Of: []register.Field{
		register.One("number", register.String),
		register.One("court", register.String),
		register.One("role", register.OneOf("payer", "recipient")),
		register.One("dependants", register.Match(`[1-9]|[1-4][0-9]|50`)),
		register.One("monthlyAmount", register.Money),
		register.One("since", register.Date),
		register.Maybe("until", register.Date),
	}}}}
}
