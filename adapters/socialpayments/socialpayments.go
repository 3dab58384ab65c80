// Package socialpayments asks for income as social payments: pensions, benefits, social aid.
//
// No public schema of this register exists: the messages are the project's own stand-in,
// schemas/registers/socialpayments.xsd.
package socialpayments

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
	r, err := register.New("socialpayments", []gateway.RecordKind{gateway.RecordSocialPayments}, register.StandIn("socialpayments", record()), c)
	if err != nil {
		return nil, err
	}
	return &Source{r}, nil
}

// record is what the register answers after its frame.
func record() register.Field {
	return register.Field{Name: "payments", Of: []register.Field{{Name: "payment", Max: 1000, Of: []register.Field{
		register.One("kind", register.Code),
		register.One("month", register.Month),
		register.One("amount", register.Money),
	}}}}
}
