// Package employment asks the employment centre whether a person is registered as unemployed.
//
// No public schema of this register exists: the messages are the project's own stand-in,
// schemas/registers/employment.xsd.
package employment

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
	r, err := register.New("employment", []gateway.RecordKind{gateway.RecordUnemployment}, register.StandIn("employment", record()), c)
	if err != nil {
		return nil, err
	}
	return &Source{r}, nil
}

// record is what the register answers after its frame.
func record() register.Field {
	return register.Field{Name: "unemployment", Of: []register.Field{
		register.One("registered", register.Bool),
		register.Maybe("registeredOn", register.Date),
		register.Maybe("centre", register.String),
		register.One("checkedOn", register.Date),
	}}
}
