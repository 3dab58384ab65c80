package shep

import (
	"strings"
	"time"

	"egov-gateway/gateway"
)

// Namespaces of the contract.
const (
	nsSOAP   = "http://schemas.xmlsoap.org/soap/envelope/"
	nsSync   = "http://bip.bee.kz/SyncChannel/v10/Types"
	nsAsync  = "http://bip.bee.kz/AsyncChannel/v10/Types"
	nsClient = "http://bip.bee.kz/AsyncChannel/v10/Types/Client"
	nsXSI    = "http://www.w3.org/2001/XMLSchema-instance"
	nsXSD    = "http://www.w3.org/2001/XMLSchema"
)

// An Operation is a method of the contract, by its exact name: the SyncChannel's begins with an
// upper-case letter, the AsyncChannel's do not, and one is misspelt.
type Operation string

const (
	// SendMessage is the SyncChannel's only operation.
	SendMessage Operation = "SendMessage"

	// Operations of the AsyncChannel on SHEP's side. A participant offers the first one too, to
	// have messages pushed.
	AsyncSendMessage         Operation = "sendMessage"
	SendDeliveryNotification Operation = "sendDeliveryNotification"
	GetMessageStatus         Operation = "getMessageStatus"
	GetMessages              Operation = "getMessages"

	// ChangeStatusNotification is offered by a participant alone.
	ChangeStatusNotification Operation = "changeMassageStatusNotification"
)

// operations lists all of them.
func operations() []Operation {
	return []Operation{SendMessage, AsyncSendMessage, SendDeliveryNotification, GetMessageStatus, GetMessages, ChangeStatusNotification}
}

// space is the namespace of the operation's elements.
func (o Operation) space() string {
	switch o {
	case SendMessage, "":
		return nsSync
	case ChangeStatusNotification:
		return nsClient
	}
	return nsAsync
}

// faultTag is the name of the operation's fault detail.
func (o Operation) faultTag() string {
	if o == "" {
		o = SendMessage
	}
	return string(o) + "Fault1_" + string(o) + "Fault"
}

// A Message is the request of SendMessage (requestInfo and requestData).
type Message struct {
	ID            string // messageId, in the sender's system
	CorrelationID string // chain id, in the sender's system; "" for none
	ServiceID     string // from SHEP's register of interactions
	Date          time.Time
	RouteID       string // "" for none
	SenderID      string
	Password      string // "" for none
	Properties    []Property
	SessionID     string // set by SHEP, not by the sender: {8-4-4-4-12}
	Data          Data
}

// A Property is a further setting agreed with SHEP: a key of up to 30 characters, a value of up to 500.
type Property struct{ Key, Value string }

// A Response is the answer to a [Message] (responseInfo and responseData).
type Response struct {
	ID            string // messageId, in the answering system
	CorrelationID string
	Date          time.Time
	Status        Status
	SessionID     string
	Data          Data
}

// A Status is how the answering system says it went. Message may hold personal data.
type Status struct{ Code, Message string }

// A Form is how business data travels in "data". Its type is anyType, and all three are met.
type Form int

const (
	// FormNone: no data.
	FormNone Form = iota
	// FormString: the document as escaped text, xsi:type="xs:string". It survives intermediaries
	// that write XML anew, so signed documents travel this way.
	FormString
	// FormElement: the document's root is the only child of "data".
	FormElement
	// FormTyped: "data" itself is the root, its xsi:type names what it holds.
	FormTyped
)

// Data is business data: a complete XML document and how it travels.
type Data struct {
	Form     Form
	Document []byte
}

// ErrorInfo is the detail of a fault. Message and Data may hold personal data.
type ErrorInfo struct {
	Code      string
	Message   string
	Data      string
	Date      time.Time
	SubError  *ErrorInfo
	SessionID string
}

// A Fault is a SOAP fault as an error. Its text names codes only: the messages of state systems
// quote the IIN they were asked about.
type Fault struct {
	Operation Operation // whose fault it is; "" writes SendMessage's
	Code      string    // faultcode
	String    string    // faultstring; may hold personal data
	Info      *ErrorInfo
}

func (f *Fault) Error() string {
	if f.Info == nil {
		return "fault " + printable(f.Code)
	}
	s := "fault " + printable(f.Info.Code)
	for sub := f.Info.SubError; sub != nil; sub = sub.SubError {
		s += "/" + printable(sub.Code)
	}
	return s
}

// printable returns a code that may stand in a log, or says that this is none.
func printable(code string) string {
	if code == "" || len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:") != "" {
		return "(no code)"
	}
	for run, i := 0, 0; i < len(code); i++ {
		if code[i] < '0' || code[i] > '9' {
			run = 0
		} else if run++; run == 12 {
			return "(no code)"
		}
	}
	return code
}

// OK reports success. The code is free text in practice: besides SCSS001 the contract's own
// sample answers Success.
func (s Status) OK() bool { return s.Code == CodeSuccess || strings.EqualFold(s.Code, "Success") }

// Reason is what a status means to the one who asked: "" for success, [gateway.SourceNoData] for
// SCSE001, which may also be an error of the answering system, so that only its business data
// can confirm it; [gateway.SourceFault] for everything else.
func (s Status) Reason() gateway.Reason {
	switch {
	case s.OK():
		return ""
	case s.Code == CodeNotFound:
		return gateway.SourceNoData
	}
	return gateway.SourceFault
}
