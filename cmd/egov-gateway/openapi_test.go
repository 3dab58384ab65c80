package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"egov-gateway/schemas"
)

// contract is schemas/openapi.yaml. Every answer that any test of this package gets from a
// gateway's public door passes through it: see init of http.DefaultTransport below.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // guarded by mu, by pointer
	used    map[string]bool               // guarded by mu: "POST /v1/requests 202 application/json"
	faults  []string                      // guarded by mu
}

func loadContract() (*contract, error) {
	raw, err := schemas.FS.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	c := &contract{doc: doc.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, used: map[string]bool{}}
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource("openapi.json", doc)
}

func (c *contract) at(pointer ...string) map[string]any {
	cur := c.doc
	for _, p := range pointer {
		next, ok := cur[p].(map[string]any)
		if !ok {
			return nil
		}
		if ref, ok := next["$ref"].(string); ok {
			next = c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		cur = next
	}
	return cur
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// check says what of an answer is not in the contract, "" if all is.
func (c *contract) check(method, path string, resp *http.Response, body []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for template := range c.at("paths") {
		// A segment that is not of the parameter's form is refused as not found: also in the contract.
		re := regexp.MustCompile("^" + parameter.ReplaceAllString(template, "[^/]+") + "$")
		if !re.MatchString(path) {
			continue
		}
		operation := c.at("paths", template, strings.ToLower(method))
		if operation == nil {
			if resp.StatusCode != http.StatusMethodNotAllowed {
				return method + " " + template + " is not in the contract"
			}
			for _, m := range []string{"post", "get"} {
				if operation = c.at("paths", template, m); operation != nil {
					method = strings.ToUpper(m)
					break
				}
			}
		}
		status := strconv.Itoa(resp.StatusCode)
		answer := c.at("paths", template, strings.ToLower(method), "responses", status)
		if answer == nil {
			return method + " " + template + ": status " + status + " is not in the contract"
		}
		media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		content, _ := answer["content"].(map[string]any)
		entry, ok := content[media].(map[string]any)
		if !ok {
			return method + " " + template + " " + status + ": " + media + " is not in the contract"
		}
		headers, _ := answer["headers"].(map[string]any)
		for name, h := range headers {
			if m, _ := h.(map[string]any); m["required"] == true && resp.Header.Get(name) == "" {
				return method + " " + template + " " + status + ": the header " + name + " is missing"
			}
		}
		c.used[method+" "+template+" "+status+" "+media] = true
		if !strings.HasSuffix(media, "json") {
			return ""
		}
		ref := entry["schema"].(map[string]any)["$ref"].(string)
		schema := c.schemas[ref]
		if schema == nil {
			var err error
			if schema, err = c.compiler.Compile("openapi.json" + ref); err != nil {
				return ref + ": " + err.Error()
			}
			c.schemas[ref] = schema
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			return method + " " + template + " " + status + ": " + err.Error()
		}
		return ""
	}
	return ""
}

// RoundTrip checks what the public paths answer.
func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := plainTransport.RoundTrip(r)
	if err != nil || !(strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasPrefix(r.URL.Path, "/cabinet/api/")) {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return resp, err
	}
	if fault := c.check(r.Method, r.URL.Path, resp, body); fault != "" {
		c.mu.Lock()
		c.faults = append(c.faults, fault)
		c.mu.Unlock()
	}
	return resp, nil
}

var plainTransport = http.DefaultTransport

// TestMain sends every request of the tests through the contract and fails the package when
// an answer was not in it, or when too little of it was seen.
func TestMain(m *testing.M) {
	if text := os.Getenv(crashHooks); text != "" {
		os.Exit(runHooked(os.Args[1:], text, os.Stdout, os.Stderr))
	}
	if os.Getenv(runAsGateway) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	c, err := loadContract()
	if err != nil {
		os.Stderr.WriteString("schemas/openapi.yaml: " + err.Error() + "\n")
		os.Exit(1)
	}
	http.DefaultTransport = c
	http.DefaultClient.Transport = c
	openapi = c
	code := m.Run()
	for _, f := range c.faults {
		os.Stderr.WriteString("not as schemas/openapi.yaml says: " + f + "\n")
		code = 1
	}
	os.Exit(code)
}

var openapi *contract

// The check of the contract can fail, and what it describes is what the server has.
func TestTheContractIsCheckedForReal(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	if _, err := l.progress(r.ID); err != nil {
		t.Fatal(err)
	}
	get(t, l.base+"/v1/requests/"+string(r.ID)+"/receipt", "Authorization", "Bearer "+l.token)
	openapi.mu.Lock()
	for _, want := range []string{"POST /v1/requests 202 application/json", "GET /v1/requests/{id} 200 application/json", "GET /v1/requests/{id}/receipt 200 application/xml"} {
		if !openapi.used[want] {
			t.Errorf("%s was not checked", want)
		}
	}
	openapi.mu.Unlock()
	ok := &http.Response{StatusCode: 202, Header: http.Header{"Content-Type": {"application/json"}}}
	for name, body := range map[string]string{"a missing field": `{"id":"0"}`, "no JSON": "x"} {
		if openapi.check("POST", "/v1/requests", ok, []byte(body)) == "" {
			t.Errorf("%s passes the contract", name)
		}
	}
	if openapi.check("POST", "/v1/requests", &http.Response{StatusCode: 500, Header: http.Header{}}, nil) == "" {
		t.Error("a 500 passes the contract")
	}
	if openapi.check("GET", "/v1/requests/x", &http.Response{StatusCode: 503, Header: http.Header{"Content-Type": {"application/problem+json"}}}, nil) == "" {
		t.Error("a 503 without Retry-After passes the contract")
	}
	// Every path of the contract is served: nothing answers "nothing is served at this address".
	for template := range openapi.at("paths") {
		path := strings.NewReplacer("{id}", string(r.ID), "{provider}", "taraz").Replace(template)
		method := http.MethodGet
		if _, ok := openapi.at("paths", template)["get"]; !ok {
			method = http.MethodPost
		}
		if _, _, body := call(t, method, l.base+path, nil); bytes.Contains(body, []byte("nothing is served at this address")) {
			t.Errorf("%s %s is in the contract and not served", method, template)
		}
	}
}
