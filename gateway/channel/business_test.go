package channel

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/shep"
)

func TestWhatAMessageAsksFor(t *testing.T) {
	full, err := dispatch.Bundle{Portal: "egov.kz", Request: []byte("<a>Ә</a>"), Receipt: []byte("<r/>"), Documents: []dispatch.Copy{{Name: "a.pdf", Data: []byte{0, 1, 2, 255}}, {Name: "ә.png", Data: nil}}}.Write()
	if err != nil {
		t.Fatal(err)
	}
	sub := func(from, to string) string {
		if !strings.Contains(string(full), from) {
			t.Fatalf("%s is not in %s", from, full)
		}
		return strings.Replace(string(full), from, to, 1)
	}
	request := base64.StdEncoding.EncodeToString([]byte("<a>Ә</a>"))
	tests := []struct {
		name, doc string
		want      gateway.Reason
	}{
		{"a submission with everything", string(full), ""},
		{"white space inside base64", sub(request, request[:4]+"\r\n  "+request[4:]), ""},
		{"an empty document", "", gateway.BodyEmpty},
		{"no request", sub("<request>"+request+"</request>", ""), gateway.DocumentMalformed},
		{"base64 that is none", sub(request, "!"), gateway.DocumentMalformed},
		{"base64 without its padding", sub(request, strings.TrimRight(request, "=")+"A"), gateway.DocumentMalformed},
		{"parts out of order", sub("<portal>egov.kz</portal>", "") + "", ""},
		{"a second request", sub("</request>", "</request><request/>"), gateway.DocumentMalformed},
		{"an attachment without a name", sub("<name>a.pdf</name>", ""), gateway.DocumentMalformed},
		{"too many attachments", sub("</submission>", strings.Repeat("<attachment><name>x</name><data/></attachment>", 19)+"</submission>"), gateway.DocumentMalformed},
		{"an element nobody knows", sub("</submission>", "<x/></submission>"), gateway.DocumentMalformed},
		{"another word of the exchange", `<other xmlns="` + Namespace + `"/>`, gateway.DocumentMalformed},
		{"a question without an id", `<statusRequest xmlns="` + Namespace + `"/>`, gateway.DocumentMalformed},
		{"a question", `<resultRequest xmlns="` + Namespace + `"><requestId> x </requestId></resultRequest>`, ""},
		{"anything else is a citizen's", "<a/>", ""},
		{"no XML", "x", gateway.DocumentMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := shep.Data{Form: shep.FormString, Document: []byte(tt.doc)}
			if tt.doc == "" {
				d = shep.Data{}
			}
			got, err := readBusiness(d, 1<<20)
			if gateway.ReasonOf(err) != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if s := got.submission; err == nil && strings.Contains(tt.doc, "<submission") {
				if string(s.request) != "<a>Ә</a>" || string(s.receipt) != "<r/>" || len(s.files) != 2 || s.files[1].Name != "ә.png" || !bytes.Equal(s.files[0].Data, []byte{0, 1, 2, 255}) {
					t.Errorf("read %+v", s)
				}
			}
		})
	}
}

func FuzzBusiness(f *testing.F) {
	full, _ := dispatch.Bundle{Portal: "egov.kz", Request: []byte("<a/>"), Receipt: []byte("<r/>"), Documents: []dispatch.Copy{{Name: "a", Data: []byte("b")}}}.Write()
	f.Add(full)
	f.Add([]byte(`<statusRequest xmlns="` + Namespace + `"><requestId>x</requestId></statusRequest>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		was := bytes.Clone(doc)
		got, err := readBusiness(shep.Data{Form: shep.FormString, Document: doc}, 1<<20)
		if gateway.ReasonOf(err) == gateway.Internal {
			t.Fatalf("an error without a reason: %v", err)
		}
		if !bytes.Equal(was, doc) {
			t.Fatal("the document was changed")
		}
		if err != nil || got.submission == nil || !bytes.Contains(doc, []byte(Namespace)) {
			return
		}
		s := got.submission
		b := dispatch.Bundle{Portal: s.portal, Request: s.request, Receipt: s.receipt}
		for _, x := range s.files {
			b.Documents = append(b.Documents, dispatch.Copy{Name: x.Name, Data: x.Data})
		}
		again, err := b.Write()
		if err != nil {
			return // a name that XML cannot hold
		}
		back, err := readBusiness(shep.Data{Form: shep.FormString, Document: again}, 1<<24)
		if err != nil || !bytes.Equal(back.submission.request, s.request) || len(back.submission.files) != len(s.files) {
			t.Fatalf("%v\n%s", err, again)
		}
	})
}
