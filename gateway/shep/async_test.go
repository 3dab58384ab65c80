package shep_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/upstream"
)

const guid = "{0123abcd-0000-0000-0000-0123456789AB}"

func errorInfo() *shep.ErrorInfo {
	return &shep.ErrorInfo{Code: "SCE001", Message: "қате", Data: "d", Date: date, SubError: &shep.ErrorInfo{Code: "x", Message: "y", Date: date}, SessionID: guid}
}

func asyncMessage(kind shep.MessageType, d shep.Data) *shep.AsyncMessage {
	return &shep.AsyncMessage{ID: "m-1", CorrelationID: guid, ServiceID: "S <1>", Type: kind, RouteID: "R_1", Date: date, Sender: shep.Sender{ID: "портал", Password: `p"<`},
		Properties: []shep.Property{{Key: "k", Value: " v\r\n"}}, SessionID: guid, Data: d}
}

// payloads are all messages of the contract, with everything that is optional and without.
func payloads() map[string]shep.Payload {
	str := shep.Data{Form: shep.FormString, Document: plain}
	state := shep.MessageStatus{State: shep.DeliveryStopped, Code: "C", Message: "тоқтатылды", Date: date}
	return map[string]shep.Payload{
		"SendMessage":              func() shep.Payload { m := message(str); return &m }(),
		"SendMessageResponse":      &shep.Response{ID: "r", CorrelationID: "c", Date: date, Status: shep.Status{Code: "SCSS001", Message: "ok"}, SessionID: guid, Data: str},
		"sendMessage":              asyncMessage(shep.TypeRequest, str),
		"sendMessage, little":      &shep.AsyncMessage{ServiceID: "s", Type: shep.TypeRequest, Date: date, Sender: shep.Sender{ID: "x"}, Data: str},
		"sendMessage, typed":       asyncMessage(shep.TypeUpdate, shep.Data{Form: shep.FormTyped, Document: typed}),
		"sendMessageResponse":      &shep.AsyncReceipt{ID: "m", CorrelationID: guid, Date: date, SessionID: guid},
		"receipt, no session":      &shep.AsyncReceipt{ID: "m", CorrelationID: guid, Date: date},
		"getMessages":              &shep.MessagesQuery{ID: "m", CorrelationID: "c", Date: date, ServiceID: "s", Sender: shep.Sender{ID: "x", Password: "y"}, Amount: 7, Properties: []shep.Property{{Key: "", Value: ""}}},
		"getMessages, little":      &shep.MessagesQuery{ServiceID: "s"},
		"getMessagesResponse":      &shep.MessagesAnswer{Date: date, SessionID: guid, Messages: []shep.AsyncMessage{*asyncMessage(shep.TypeResponse, str), *asyncMessage(shep.TypeNotification, str)}},
		"getMessagesResponse, no":  &shep.MessagesAnswer{Date: date, SessionID: guid},
		"sendDeliveryNotification": &shep.DeliveryNotification{MessageID: "m", ServiceID: "s", Date: date, StatusDate: date, Resend: true, Error: errorInfo(), RequestDate: date, Sender: shep.Sender{ID: "x"}},
		"taken":                    &shep.DeliveryNotification{MessageID: "m", ServiceID: "s", Date: date, Accepted: true, StatusDate: date, RequestDate: date},
		"delivery receipt":         &shep.DeliveryReceipt{NotificationID: "n", Date: date, SessionID: guid},
		"getMessageStatus":         &shep.StatusQuery{MessageID: "m", Date: date, Sender: shep.Sender{ID: "x"}, Properties: []shep.Property{{Key: "a", Value: "b"}}},
		"getMessageStatusResponse": &shep.StatusAnswer{MessageStatus: state, AnswerDate: date, SessionID: "any text"},
		"changeMassageStatus":      &shep.StatusChange{NotificationID: "n", MessageID: "m", Date: date, MessageStatus: state, Error: errorInfo(), RequestDate: date, SessionID: guid},
		"changeMassageStatus, few": &shep.StatusChange{NotificationID: "n", MessageID: "m", Date: date, MessageStatus: state, RequestDate: date},
		"status change receipt":    &shep.StatusChangeReceipt{Date: date, SessionID: guid},
	}
}

func TestEveryMessageSurvivesTheWire(t *testing.T) {
	for name, p := range payloads() {
		t.Run(name, func(t *testing.T) {
			doc, err := shep.Encode(p)
			if err != nil {
				t.Fatal(err)
			}
			got, err := shep.Decode(doc, len(doc))
			if err != nil {
				t.Fatalf("%v\n%s", err, doc)
			}
			if !reflect.DeepEqual(inUTC(got), inUTC(p)) {
				t.Errorf("got  %+v\nwant %+v", got, p)
			}
			again, err := shep.Encode(got)
			if err != nil || !bytes.Equal(again, doc) {
				t.Errorf("written again it is not the same: %v\n%s\n%s", err, doc, again)
			}
		})
	}
}

// inUTC makes values with equal instants equal.
func inUTC(p shep.Payload) string {
	doc, err := shep.Encode(p)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%T %s", p, doc)
}

func TestFaultsOfEveryOperation(t *testing.T) {
	for _, op := range []shep.Operation{shep.SendMessage, shep.AsyncSendMessage, shep.SendDeliveryNotification, shep.GetMessageStatus, shep.GetMessages, shep.ChangeStatusNotification} {
		doc, err := shep.Encode(&shep.Fault{Operation: op, Code: "SCE004", String: "жоқ", Info: errorInfo()})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(doc), ":"+string(op)+"Fault1_"+string(op)+"Fault ") {
			t.Errorf("%s: the detail has another name: %s", op, doc)
		}
		got, err := shep.Decode(doc, len(doc))
		f, ok := errors.AsType[*shep.Fault](asError(got))
		if err != nil || !ok || f.Operation != op || f.Code != "SCE004" || f.Info == nil || f.Info.SubError == nil || f.Info.SessionID != guid {
			t.Errorf("%s: %v %+v", op, err, got)
		}
	}
}

func asError(p shep.Payload) error {
	f, _ := p.(*shep.Fault)
	return f
}

// What is sent in the field differs from what we send, and is read all the same.
func TestTheWildIsRead(t *testing.T) {
	good, err := shep.Encode(asyncMessage(shep.TypeRequest, shep.Data{Form: shep.FormString, Document: []byte("<a>Әлем</a>")}))
	if err != nil {
		t.Fatal(err)
	}
	const written = "2026-11-02T11:00:00.123+05:00"
	tests := []struct {
		name     string
		from, to string
		want     time.Time
	}{
		{"time in UTC", written, "2026-11-02T06:00:00.123Z", date},
		{"time with the offset of before 2024", written, "2026-11-02T12:00:00.123+06:00", date},
		{"time without an offset is the country's", written, "2026-11-02T11:00:00.123", date},
		{"data qualified", `<data `, `<v10:data xmlns:v10="http://bip.bee.kz/AsyncChannel/v10/Interfaces" `, date},
		{"another prefix", "ns2:", "v10:", date},
		{"no prefix", "ns2:sendMessage", "sendMessage", date},
		{"the client's namespace for a push", `xmlns:ns2="http://bip.bee.kz/AsyncChannel/v10/Types"`, `xmlns:ns2="http://bip.bee.kz/AsyncChannel/v10/Types/Client"`, date},
		{"white space around ids", "<serviceId>S &lt;1&gt;", "<serviceId>\n S &lt;1&gt; ", date},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := strings.ReplaceAll(string(good), tt.from, tt.to)
			switch tt.name {
			case "another prefix":
				doc = strings.ReplaceAll(doc, "xmlns:ns2", "xmlns:v10")
			case "no prefix":
				doc = strings.ReplaceAll(doc, "xmlns:ns2", "xmlns")
				doc = strings.ReplaceAll(doc, "<request>", `<request xmlns="">`)
			case "data qualified":
				doc = strings.ReplaceAll(doc, "</data>", "</v10:data>")
			}
			if doc == string(good) {
				t.Fatal("nothing was changed")
			}
			p, err := shep.Decode([]byte(doc), len(doc))
			if err != nil {
				t.Fatalf("%v\n%s", err, doc)
			}
			m := p.(*shep.AsyncMessage)
			if !m.Date.Equal(tt.want) || string(m.Data.Document) != "<a>Әлем</a>" || m.ServiceID != "S <1>" {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestAsyncMessagesOutsideTheContractAreRefused(t *testing.T) {
	encode := func(p shep.Payload) string {
		doc, err := shep.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	all := payloads()
	send, query, note, status := encode(all["sendMessage"]), encode(all["getMessages"]), encode(all["sendDeliveryNotification"]), encode(all["getMessageStatusResponse"])
	tests := []struct{ name, doc, from, to string }{
		{"a type outside the four", send, ">REQUEST<", ">ANSWER<"},
		{"a RESPONSE without its chain", strings.Replace(send, "<correlationId>"+guid+"</correlationId>", "", 1), ">REQUEST<", ">RESPONSE<"},
		{"no data", send, "<messageData><data", "<messageData><datum"},
		{"another namespace", send, "AsyncChannel/v10/Types", "AsyncChannel/v11/Types"},
		{"the SyncChannel's namespace", send, "AsyncChannel/v10/Types", "SyncChannel/v10/Types"},
		{"getMessages in the client's namespace", query, "v10/Types", "v10/Types/Client"},
		{"an amount that is no number", query, "<amount>7", "<amount>seven"},
		{"a negative amount", query, "<amount>7", "<amount>-7"},
		{"an amount beyond the contract's int", query, "<amount>7", "<amount>4294967296"},
		{"the right spelling", note, "MESSAGE_NOT_ACCTEPTED", "MESSAGE_NOT_ACCEPTED"},
		{"another word for once more", note, ">RESEND<", ">AGAIN<"},
		{"a state outside the four", status, "DELIVERY_STOPPED", "LOST"},
		{"an operation nobody knows", send, "ns2:sendMessage", "ns2:sendMessages"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := shep.Decode([]byte(tt.doc), 1<<20); err != nil && !strings.HasPrefix(tt.name, "a RESPONSE") {
				t.Fatalf("the unchanged message is refused: %v", err)
			}
			doc := strings.ReplaceAll(tt.doc, tt.from, tt.to)
			if doc == tt.doc {
				t.Fatal("nothing was changed")
			}
			if p, err := shep.Decode([]byte(doc), 1<<20); gateway.ReasonOf(err) != gateway.DocumentMalformed {
				t.Errorf("got %v, %+v", err, p)
			}
		})
	}
	t.Run("more bytes than allowed", func(t *testing.T) {
		if _, err := shep.Decode([]byte(send), len(send)-1); gateway.ReasonOf(err) != gateway.DocumentTooLarge {
			t.Errorf("got %v", err)
		}
	})
	t.Run("more elements than memory is given for", func(t *testing.T) {
		dense := strings.Replace(send, "</messageData>", strings.Repeat("<b/>", shep.MaxElements)+"</messageData>", 1)
		if _, err := shep.Decode([]byte(dense), len(dense)); gateway.ReasonOf(err) != gateway.DocumentLimit {
			t.Errorf("got %v", err)
		}
	})
}

func TestEncodingRefusesAsyncMessagesWithoutWhatTheContractDemands(t *testing.T) {
	d := shep.Data{Form: shep.FormString, Document: plain}
	for name, p := range map[string]shep.Payload{
		"no type":                  &shep.AsyncMessage{ServiceID: "s", Date: date, Sender: shep.Sender{ID: "x"}, Data: d},
		"no data":                  &shep.AsyncMessage{ServiceID: "s", Type: shep.TypeRequest, Date: date, Sender: shep.Sender{ID: "x"}},
		"a RESPONSE without chain": &shep.AsyncMessage{ServiceID: "s", Type: shep.TypeResponse, Date: date, Sender: shep.Sender{ID: "x"}, Data: d},
		"a receipt without chain":  &shep.AsyncReceipt{ID: "m", Date: date},
		"a query without service":  &shep.MessagesQuery{},
		"an answer's message":      &shep.MessagesAnswer{Date: date, SessionID: guid, Messages: []shep.AsyncMessage{{}}},
		"no notification id":       &shep.DeliveryReceipt{Date: date, SessionID: guid},
		"no request date":          &shep.DeliveryNotification{MessageID: "m", ServiceID: "s", Date: date, StatusDate: date},
		"no sender":                &shep.StatusQuery{MessageID: "m", Date: date},
		"no state":                 &shep.StatusAnswer{AnswerDate: date},
		"no message id":            &shep.StatusChange{},
		"no session":               &shep.StatusChangeReceipt{Date: date},
	} {
		if doc, err := shep.Encode(p); err == nil {
			t.Errorf("%s: written: %s", name, doc)
		}
	}
}

// The table is read in both directions, and every reason that a door can give has a code.
func TestCodesBothWays(t *testing.T) {
	for _, code := range []string{shep.CodeSuccess, shep.CodeNotFound, shep.CodeFormat, shep.CodeNoService, shep.CodeTransportExpired, shep.CodeTransportWrong, shep.CodeTransportMissing,
		shep.CodeDataExpired, shep.CodeDataWrong, shep.CodeDataMissing, shep.CodeInternal} {
		if back := shep.CodeOf(shep.ReasonOf(code)); back != code {
			t.Errorf("%s means %q, which is answered %s", code, shep.ReasonOf(code), back)
		}
	}
	if r := shep.ReasonOf("SBF-VE-8"); r != gateway.SourceFault {
		t.Errorf("a code outside the table means %q", r)
	}
	for _, r := range gateway.Reasons() {
		if code := shep.CodeOf(r); r.Class() == gateway.Permanent && code == shep.CodeInternal {
			t.Errorf("%s is the client's mistake and is answered %s", r, code)
		} else if r.Class() != gateway.Permanent && code != shep.CodeInternal {
			t.Errorf("%s may pass, and is answered %s", r, code)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range payloads() {
		doc, err := shep.Encode(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := shep.Decode(doc, upstream.DefaultMaxResponse)
		if err != nil {
			if gateway.ReasonOf(err) == gateway.Internal {
				t.Fatalf("an error without a reason: %v", err)
			}
			return
		}
		if _, ok := p.(*shep.Fault); ok {
			return
		}
		// What was read can be written, and says the same.
		first, err := shep.Encode(p)
		if err != nil {
			return // escaped text that is no document, say
		}
		again, err := shep.Decode(first, upstream.DefaultMaxResponse)
		if gateway.ReasonOf(err) == gateway.DocumentLimit {
			return
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		if second, err := shep.Encode(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v\n%s\n%s", err, first, second)
		}
	})
}
