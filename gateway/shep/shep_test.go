package shep_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
)

var (
	date   = time.Date(2026, 11, 2, 6, 0, 0, 123e6, time.UTC)
	plain  = []byte(`<?xml version="1.0" encoding="UTF-8"?><n:request xmlns:n="urn:x"><n:a>1 &lt; 2 &amp; "q"</n:a></n:request>`)
	kazakh = []byte("<а:өтініш xmlns:а='urn:x'>ӘәІіҢңҒғҮүҰұҚқӨөҺһ ЁёЪъ\r\n\t&#13;<![CDATA[<Ұ>]]>&amp;#8381;₸ 𐰴</а:өтініш>")
	typed  = []byte(`<data xmlns:cs="http://message.persistence.interactive.nat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="cs:Request">` +
		`<messageId>m</messageId><messageDate>2026-11-02T11:00:00+05:00</messageDate><senderCode>s</senderCode><kdpToken>k</kdpToken><publicKey/></data>`)
)

func message(d shep.Data) shep.Message {
	return shep.Message{ID: "7f3c", CorrelationID: "chain <1>", ServiceID: "SVC & Co", Date: date, RouteID: "R_1", SenderID: "gateway", Password: `p"<>&'`,
		Properties: []shep.Property{{Key: "a", Value: "1"}, {Key: "", Value: " two\r\nlines "}}, SessionID: "{0123abcd-0000-0000-0000-0123456789AB}", Data: d}
}

// body returns the element inside the SOAP Body, as a document.
func body(t *testing.T, envelope []byte) []byte {
	t.Helper()
	d, err := xmlsig.Scan(envelope, xmlsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := d.Root().Child("*", "Body")
	for el := range b.Children() {
		if el.Local() == "Fault" {
			el, _ = el.Child("", "detail")
			for el := range el.Children() {
				return el.Source()
			}
		}
		return el.Source()
	}
	t.Fatal("the Body is empty")
	return nil
}

func TestMessagesSurviveTheWire(t *testing.T) {
	// What travels as an element or as data itself comes back as the element without its prolog.
	tests := []struct {
		name string
		data shep.Data
		want []byte
	}{
		{"no data", shep.Data{}, nil},
		{"a document as escaped text, byte for byte", shep.Data{Form: shep.FormString, Document: plain}, plain},
		{"a document as an element", shep.Data{Form: shep.FormElement, Document: plain}, plain[bytes.Index(plain, []byte("<n:")):]},
		{"a typed document", shep.Data{Form: shep.FormTyped, Document: typed}, typed},
		{"Kazakh and Russian letters and line ends as escaped text", shep.Data{Form: shep.FormString, Document: kazakh}, kazakh},
		{"Kazakh and Russian letters and line ends as an element", shep.Data{Form: shep.FormElement, Document: kazakh}, kazakh},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message(tt.data)
			doc, err := shep.EncodeSendMessage(m)
			if err != nil {
				t.Fatal(err)
			}
			got, err := shep.DecodeSendMessage(doc)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Date.Equal(date) {
				t.Errorf("sent at %s, read as %s", date, got.Date)
			}
			m.Data.Document, got.Date = tt.want, m.Date
			if !reflect.DeepEqual(got, m) {
				t.Errorf("got  %+v\nwant %+v", got, m)
			}

			r := shep.Response{ID: "r", CorrelationID: "chain", Date: date, Status: shep.Status{Code: shep.CodeSuccess, Message: "ok"}, Data: tt.data}
			if doc, err = shep.EncodeSendMessageResponse(r); err != nil {
				t.Fatal(err)
			}
			back, err := shep.DecodeSendMessageResponse(doc)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(back.Data.Document, tt.want) || back.Data.Form != tt.data.Form || back.ID != "r" || back.Status != r.Status || !back.Date.Equal(date) {
				t.Errorf("got %+v", back)
			}
		})
	}
}

func TestFaultSurvivesTheWire(t *testing.T) {
	want := shep.Fault{Code: "SCE001", String: "bad format", Info: &shep.ErrorInfo{Code: "SCE001", Message: "ИИН 900101200010 не найден", Data: "d", Date: date,
		SubError: &shep.ErrorInfo{Code: "900101200010", Message: "inner", Date: date}}}
	doc, err := shep.EncodeFault(want)
	if err != nil {
		t.Fatal(err)
	}
	_, err = shep.DecodeSendMessageResponse(doc)
	got, ok := errors.AsType[*shep.Fault](err)
	if !ok || gateway.ReasonOf(err) != gateway.SourceFault {
		t.Fatalf("got %v", err)
	}
	if got.Code != want.Code || got.String != want.String || got.Info.Message != want.Info.Message || got.Info.Data != "d" || !got.Info.Date.Equal(date) || got.Info.SubError.Message != "inner" {
		t.Errorf("got %+v", got)
	}
	if s := err.Error(); strings.Contains(s, "900101200010") || strings.Contains(s, "ИИН") || !strings.Contains(s, "SCE001") {
		t.Errorf("the error must name the code and nothing personal: %s", s)
	}
}

func TestWrittenMessagesFitTheContract(t *testing.T) {
	tool.Path(t, "xmllint", "libxml2-utils")
	docs := map[string][]byte{}
	for name, d := range map[string]shep.Data{"none": {}, "string": {Form: shep.FormString, Document: plain}, "element": {Form: shep.FormElement, Document: typed}, "typed": {Form: shep.FormTyped, Document: typed}} {
		m, err := shep.EncodeSendMessage(message(d))
		if err != nil {
			t.Fatal(err)
		}
		r, err := shep.EncodeSendMessageResponse(shep.Response{ID: "r", Date: date, Status: shep.Status{Code: "SCSE001", Message: strings.Repeat("ұзын ", 100)}, Data: d})
		if err != nil {
			t.Fatal(err)
		}
		docs["message "+name], docs["response "+name] = body(t, m), body(t, r)
	}
	for name, p := range payloads() {
		doc, err := shep.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		docs[name] = body(t, doc)
	}
	for _, op := range []shep.Operation{shep.SendMessage, shep.AsyncSendMessage, shep.SendDeliveryNotification, shep.GetMessageStatus, shep.GetMessages, shep.ChangeStatusNotification} {
		f, err := shep.Encode(&shep.Fault{Operation: op, Code: "SCE909", String: "x", Info: errorInfo()})
		if err != nil {
			t.Fatal(err)
		}
		docs["fault "+string(op)] = body(t, f)
	}

	own, err := filepath.Abs("../../schemas")
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "this repository's schema", docs, fmt.Sprintf(`<xs:import namespace="http://bip.bee.kz/SyncChannel/v10/Types" schemaLocation="%[1]s/shep/sync.xsd"/>
		<xs:import namespace="http://bip.bee.kz/AsyncChannel/v10/Types" schemaLocation="%[1]s/shep/async.xsd"/>
		<xs:import namespace="http://bip.bee.kz/AsyncChannel/v10/Types/Client" schemaLocation="%[1]s/shep/async-client.xsd"/>
		<xs:import namespace="http://message.persistence.interactive.nat" schemaLocation="%[1]s/registers/gbdfl-message.xsd"/>`, own))

	// The published files import one namespace from several places, of which libxml2 reads the
	// first only; one file per namespace that includes them all, imported first, is the same.
	dir := os.Getenv("SHEP_CONTRACT")
	if dir == "" {
		dir, _ = filepath.Abs("../../../shared/shep")
	}
	if _, err := os.Stat(filepath.Join(dir, "SyncChannel", "v10")); err != nil {
		t.Log("not checked against the published files: SHEP_CONTRACT names no folder with SyncChannel/v10, AsyncChannel/v10 and common/v10")
		return
	}
	tmp := t.TempDir()
	merged := func(file, ns, folder string, parts ...string) {
		s := `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="` + ns + `">`
		for _, p := range parts {
			s += `<xs:include schemaLocation="` + filepath.Join(dir, folder, p+".xsd") + `"/>`
		}
		if err := os.WriteFile(filepath.Join(tmp, file), []byte(s+"</xs:schema>"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	merged("common.xsd", "http://bip.bee.kz/common/v10/Types", "common/v10/Types", "ErrorInfo", "Property", "SenderInfo", "StatusInfo", "MessageData", "ChangeStatusNotification", "DeliveryNotification")
	merged("types.xsd", "http://bip.bee.kz/SyncChannel/v10/Types", "SyncChannel/v10/Types", "SyncMessageInfo", "SyncMessageInfoResponse", "ISyncChannel")
	merged("itypes.xsd", "http://bip.bee.kz/AsyncChannel/v10/ITypes", "AsyncChannel/v10/Types", "AsyncSendMessageRequest", "AsyncSendMessageResponse", "AsyncGetMessagesRequest", "AsyncGetMessagesResponse",
		"AsyncSendDeliveryNotificationRequest", "AsyncSendDeliveryNotificationResponse", "AsyncGetMessageStatusRequest", "AsyncGetMessageStatusResponse", "AsyncChangeStatusNotifyRequest", "AsyncChangeStatusNotifyResponse")
	merged("async.xsd", "http://bip.bee.kz/AsyncChannel/v10/Types", "AsyncChannel/v10/Types", "IAsyncChannel")
	merged("client.xsd", "http://bip.bee.kz/AsyncChannel/v10/Types/Client", "AsyncChannel/v10/Types", "IAsyncChannelClient")
	validate(t, "the published schema", docs, fmt.Sprintf(`<xs:import namespace="http://bip.bee.kz/common/v10/Types" schemaLocation="%[1]s/common.xsd"/>
		<xs:import namespace="http://bip.bee.kz/SyncChannel/v10/Types" schemaLocation="%[1]s/types.xsd"/>
		<xs:import namespace="http://bip.bee.kz/AsyncChannel/v10/ITypes" schemaLocation="%[1]s/itypes.xsd"/>
		<xs:import namespace="http://bip.bee.kz/AsyncChannel/v10/Types" schemaLocation="%[1]s/async.xsd"/>
		<xs:import namespace="http://bip.bee.kz/AsyncChannel/v10/Types/Client" schemaLocation="%[1]s/client.xsd"/>
		<xs:import namespace="http://message.persistence.interactive.nat" schemaLocation="%[2]s/gbdfl/schema2.xsd"/>`, tmp, dir))
}

func validate(t *testing.T, what string, docs map[string][]byte, imports string) {
	driver := filepath.Join(t.TempDir(), "all.xsd")
	if err := os.WriteFile(driver, []byte(`<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">`+imports+`</xs:schema>`), 0o600); err != nil {
		t.Fatal(err)
	}
	lint := func(doc []byte) (string, error) {
		c := exec.Command("xmllint", "--noout", "--nonet", "--schema", driver, "-")
		c.Stdin = bytes.NewReader(doc)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for name, doc := range docs {
		if out, err := lint(doc); err != nil {
			t.Errorf("%s does not fit %s: %s\n%s", name, what, out, doc)
		}
	}
	broken := bytes.Replace(docs["message none"], []byte("serviceId>"), []byte("serviceID>"), 2)
	if _, err := lint(broken); err == nil {
		t.Errorf("%s accepts a misspelt element, so it checks nothing", what)
	}
}

const soap = `<?xml version="1.0"?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:reg="urn:reg">%s<S:Body>%s</S:Body></S:Envelope>`

// answer is a response whose parts a test replaces.
func answer(data string) string {
	return fmt.Sprintf(soap, `<S:Header><h xmlns="urn:h">x</h></S:Header>`, `<n:SendMessageResponse xmlns:n="http://bip.bee.kz/SyncChannel/v10/Types"><response>`+
		`<responseInfo><messageId>r-1</messageId><correlationId>c-1</correlationId><responseDate>2026-11-02T11:00:00.5+05:00</responseDate>`+
		`<status><code>Success</code><message/></status></responseInfo><responseData>`+data+`</responseData></response></n:SendMessageResponse>`)
}

func TestDataIsReadInEveryForm(t *testing.T) {
	tests := []struct {
		name, data string
		form       shep.Form
		want       string
	}{
		{"absent", "", shep.FormNone, ""},
		{"empty", "<data/>", shep.FormNone, ""},
		{"nil", `<data xsi:nil="true"/>`, shep.FormNone, ""},
		{"escaped text", `<data xsi:type="xs:string">&lt;a>&amp;amp;&lt;/a></data>`, shep.FormString, "<a>&amp;</a>"},
		{"escaped text without a type", `<data>&lt;a/></data>`, shep.FormString, "<a/>"},
		{"text in a CDATA section", `<data><![CDATA[<a>1</a>]]></data>`, shep.FormString, "<a>1</a>"},
		{"white space before the document would break its declaration", "<data>\n &lt;?xml version=\"1.0\"?>&lt;a/></data>", shep.FormString, `<?xml version="1.0"?><a/>`},
		{"data qualified by the sender", `<q:data xmlns:q="http://bip.bee.kz/SyncChannel/v10/Interfaces">&lt;a/></q:data>`, shep.FormString, "<a/>"},
		{"an element keeps its bytes", `<data><a  b='1'>x</a></data>`, shep.FormElement, `<a  b='1'>x</a>`},
		{"an element takes along a prefix of its name", `<data><reg:a/></data>`, shep.FormElement, `<reg:a xmlns:reg="urn:reg"/>`},
		{"an element takes along a prefix used in a value", `<data><a t="reg:T"/></data>`, shep.FormElement, `<a xmlns:reg="urn:reg" t="reg:T"/>`},
		{"an element takes along the default namespace", `<data xmlns="urn:d&amp;"><a/></data>`, shep.FormElement, `<a xmlns="urn:d&amp;"/>`},
		{"what an element declares itself is left alone", `<data><reg:a xmlns:reg="urn:own"/></data>`, shep.FormElement, `<reg:a xmlns:reg="urn:own"/>`},
		{"a prefix before a colon in a text is none", `<data><a t="xs: S:b c">reg: xs:x<!-- xsi:x --></a></data>`, shep.FormElement,
			`<a t="xs: S:b c">reg: xs:x<!-- xsi:x --></a>`},
		{"a prefix declared further down is left alone", `<data><a><reg:b xmlns:reg="urn:own"/></a></data>`, shep.FormElement,
			`<a><reg:b xmlns:reg="urn:own"/></a>`},
		{"a prefix declared in one place and used in another is taken along",
			`<data><a><reg:b xmlns:reg="urn:own"/><reg:b/></a></data>`, shep.FormElement,
			`<a xmlns:reg="urn:reg"><reg:b xmlns:reg="urn:own"/><reg:b/></a>`},
		{"a prefix used in a value before it is used in a name", `<data><a t="reg:T"><reg:b/></a></data>`, shep.FormElement,
			`<a xmlns:reg="urn:reg" t="reg:T"><reg:b/></a>`},
		{"a default namespace that nothing uses", `<data xmlns="urn:d"><reg:a xmlns:reg="urn:own" b=""/></data>`, shep.FormElement,
			`<reg:a xmlns:reg="urn:own" b=""/>`},
		{"what is signed stands as it was signed",
			`<data xmlns="urn:d"><a t="reg:T"><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/></a></data>`, shep.FormElement,
			`<a t="reg:T"><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/></a>`},
		{"a type that every element has is none", `<data xsi:type="xs:anyType"><a/></data>`, shep.FormElement, `<a/>`},
		{"typed data is the document", `<data xsi:type="reg:Response"><a/><b/></data>`, shep.FormTyped,
			`<data xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:reg="urn:reg" xsi:type="reg:Response"><a/><b/></data>`},
		{"typed data with one child is the document too", `<data xsi:type="reg:Response"><a/></data>`, shep.FormTyped,
			`<data xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:reg="urn:reg" xsi:type="reg:Response"><a/></data>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := shep.DecodeSendMessageResponse([]byte(answer(tt.data)))
			if err != nil {
				t.Fatal(err)
			}
			if r.Data.Form != tt.form || string(r.Data.Document) != tt.want {
				t.Errorf("form %d: %s\nwant %d: %s", r.Data.Form, r.Data.Document, tt.form, tt.want)
			}
			if !r.Status.OK() || r.CorrelationID != "c-1" || !r.Date.Equal(time.Date(2026, 11, 2, 6, 0, 0, 5e8, time.UTC)) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestAnswersOutsideTheContractAreRefused(t *testing.T) {
	good := answer("<data/>")
	tests := []struct {
		name, doc string
		want      gateway.Reason
	}{
		{"nothing", "", gateway.DocumentMalformed},
		{"HTML", "<html/>", gateway.DocumentMalformed},
		{"a document type declaration", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + good[21:], gateway.DocumentDoctype},
		{"SOAP 1.2", strings.ReplaceAll(good, "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"), gateway.DocumentMalformed},
		{"an empty Body", fmt.Sprintf(soap, "", ""), gateway.DocumentMalformed},
		{"two operations", strings.Replace(good, "</S:Body>", "<x/></S:Body>", 1), gateway.DocumentMalformed},
		{"two Bodies", strings.Replace(good, "</S:Envelope>", "<S:Body/></S:Envelope>", 1), gateway.DocumentMalformed},
		{"another operation", strings.ReplaceAll(good, "SendMessageResponse", "SendMessage"), gateway.DocumentMalformed},
		{"another version's namespace", strings.Replace(good, "v10", "v11", 1), gateway.DocumentMalformed},
		{"a nil response", strings.Replace(good, "<response>", `<response xsi:nil="1">`, 1), gateway.DocumentMalformed},
		{"no message id", strings.Replace(good, "<messageId>r-1</messageId>", "", 1), gateway.DocumentMalformed},
		{"an empty message id", strings.Replace(good, "r-1", " ", 1), gateway.DocumentMalformed},
		{"a message id twice", strings.Replace(good, "<messageId>", "<messageId>x</messageId><messageId>", 1), gateway.DocumentMalformed},
		{"a qualified child", strings.Replace(good, "<responseInfo>", `<responseInfo xmlns="urn:x">`, 1), gateway.DocumentMalformed},
		{"no status", strings.Replace(good, "<status><code>Success</code><message/></status>", "", 1), gateway.DocumentMalformed},
		{"a date that is none", strings.Replace(good, "2026-11-02T11", "yesterday", 1), gateway.DocumentMalformed},
		{"an unknown element", strings.Replace(good, "</responseInfo>", "<x/></responseInfo>", 1), gateway.DocumentMalformed},
		{"elements where text belongs", strings.Replace(good, "r-1", "<x/>", 1), gateway.DocumentMalformed},
		{"text between elements", strings.Replace(good, "<status>", "x<status>", 1), gateway.DocumentMalformed},
		{"two data elements", answer("<data/><data/>"), gateway.DocumentMalformed},
		{"something else than data", answer("<payload/>"), gateway.DocumentMalformed},
		{"mixed data", answer("<data>x<a/></data>"), gateway.DocumentMalformed},
		{"no responseData", strings.Replace(good, "<responseData><data/></responseData>", "", 1), gateway.DocumentMalformed},
		{"a fault of the contract that is broken", fmt.Sprintf(soap, "", `<S:Fault><detail><n:SendMessageFault1_SendMessageFault xmlns:n="http://bip.bee.kz/SyncChannel/v10/Types"><errorMessage/></n:SendMessageFault1_SendMessageFault></detail></S:Fault>`), gateway.DocumentMalformed},
		{"a fault without detail", fmt.Sprintf(soap, "", `<S:Fault><faultcode>S:Server</faultcode><faultstring>x</faultstring></S:Fault>`), gateway.SourceFault},
	}
	if _, err := shep.DecodeSendMessageResponse([]byte(good)); err != nil {
		t.Fatalf("the unchanged answer is refused: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := shep.DecodeSendMessageResponse([]byte(tt.doc))
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Errorf("reason %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestEncodingRefusesWhatNobodyCouldRead(t *testing.T) {
	tests := []struct {
		name   string
		change func(*shep.Message)
	}{
		{"no id", func(m *shep.Message) { m.ID = "" }},
		{"no date", func(m *shep.Message) { m.Date = time.Time{} }},
		{"a control character", func(m *shep.Message) { m.RouteID = "\x01" }},
		{"bytes that are not UTF-8", func(m *shep.Message) { m.RouteID = "\xff" }},
		{"data that is not XML", func(m *shep.Message) { m.Data = shep.Data{Form: shep.FormElement, Document: []byte("</requestData>")} }},
		{"typed data without a type", func(m *shep.Message) { m.Data = shep.Data{Form: shep.FormTyped, Document: []byte("<data/>")} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message(shep.Data{})
			tt.change(&m)
			if doc, err := shep.EncodeSendMessage(m); err == nil {
				t.Errorf("written: %s", doc)
			}
		})
	}
}

func TestCodes(t *testing.T) {
	for _, tt := range []struct {
		code string
		want gateway.Reason
	}{{"SCSS001", ""}, {"success", ""}, {"SCSE001", gateway.SourceNoData}, {"SCE004", gateway.SourceFault}, {"SCE909", gateway.SourceFault}, {"", gateway.SourceFault}, {"anything", gateway.SourceFault}} {
		if got := (shep.Status{Code: tt.code}).Reason(); got != tt.want {
			t.Errorf("%q means %q, want %q", tt.code, got, tt.want)
		}
	}
	for _, tt := range []struct {
		reason gateway.Reason
		want   string
	}{{"", "SCSS001"}, {gateway.DocumentMalformed, "SCE001"}, {gateway.FormInvalid, "SCE001"}, {gateway.ServiceUnknown, "SCE004"},
		{gateway.SignatureMissing, "SCE017"}, {gateway.DigestMismatch, "SCE016"}, {gateway.Revoked, "SCE016"}, {gateway.IINMismatch, "SCE016"},
		{gateway.CertificateExpired, "SCE015"}, {gateway.StatusUnavailable, "SCE909"}, {gateway.Internal, "SCE909"}} {
		if got := shep.CodeOf(tt.reason); got != tt.want {
			t.Errorf("%q is answered %s, want %s", tt.reason, got, tt.want)
		}
	}
}

func FuzzDecodeSendMessageResponse(f *testing.F) {
	f.Add([]byte(answer(`<data xsi:type="reg:Response"><a t="reg:x">1:2</a><b/></data>`)))
	f.Add([]byte(answer(`<data>&lt;a/></data>`)))
	doc, _ := shep.EncodeFault(shep.Fault{Code: "SCE001", Info: &shep.ErrorInfo{Code: "x", Message: "y", Date: date}})
	f.Add(doc)
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := shep.DecodeSendMessageResponse(doc)
		if err != nil {
			if gateway.ReasonOf(err) == gateway.Internal {
				t.Fatalf("an error without a reason: %v", err)
			}
			return
		}
		again(t, r.Data)
	})
}

func FuzzDecodeSendMessage(f *testing.F) {
	for _, d := range []shep.Data{{}, {Form: shep.FormString, Document: plain}, {Form: shep.FormElement, Document: plain}, {Form: shep.FormTyped, Document: typed}} {
		doc, err := shep.EncodeSendMessage(message(d))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := shep.DecodeSendMessage(doc)
		if err != nil {
			if gateway.ReasonOf(err) == gateway.Internal {
				t.Fatalf("an error without a reason: %v", err)
			}
			return
		}
		again(t, m.Data)
	})
}

// again checks that data taken out of an envelope is a document that can be sent on.
func again(t *testing.T, d shep.Data) {
	if d.Form != shep.FormElement && d.Form != shep.FormTyped {
		return
	}
	first, err := xmlsig.Scan(d.Document, xmlsig.Limits{MaxBytes: 16 << 20})
	if err != nil {
		t.Fatalf("not a document: %v\n%s", err, d.Document)
	}
	doc, err := shep.EncodeSendMessage(shep.Message{ID: "x", ServiceID: "x", SenderID: "x", Date: date, Data: shep.Data{Form: shep.FormElement, Document: d.Document}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := shep.DecodeSendMessage(doc)
	if err != nil {
		// A document at the limit of depth does not fit inside an envelope.
		if gateway.ReasonOf(err) == gateway.DocumentLimit {
			return
		}
		t.Fatal(err)
	}
	if !bytes.Equal(m.Data.Document, first.Root().Source()) {
		t.Fatalf("sent %s\ngot  %s", d.Document, m.Data.Document)
	}
}

func BenchmarkDecodeSendMessageResponse(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		doc, err := shep.EncodeSendMessageResponse(shep.Response{ID: "r", Date: date, Status: shep.Status{Code: shep.CodeSuccess},
			Data: shep.Data{Form: shep.FormString, Document: []byte("<a>" + strings.Repeat("<b>x:y</b>", size/10) + "</a>")}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d KiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := shep.DecodeSendMessageResponse(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
