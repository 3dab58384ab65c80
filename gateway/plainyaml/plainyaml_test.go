package plainyaml_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"egov-gateway/gateway/plainyaml"
)

type code string

type Inner struct {
	Code code `yaml:"code"`
}

type document struct {
	Inner   `yaml:",inline"`
	Text    string             `yaml:"text"`
	Pointer *string            `yaml:"pointer"`
	List    []string           `yaml:"list"`
	Map     map[string]string  `yaml:"map"`
	Codes   map[code][]code    `yaml:"codes"`
	Nested  []*Inner           `yaml:"nested"`
	Number  int                `yaml:"number"`
	Ratio   float64            `yaml:"ratio"`
	Flag    bool               `yaml:"flag"`
	Network netip.Addr         `yaml:"network"`
	Deep    map[string][]Inner `yaml:"deep"`
}

// What a library takes for a number, a truth or infinity is text where text is wanted.
func TestTextComesOutAsItStands(t *testing.T) {
	for _, s := range []string{
		"000747000012", "747000012", "0x1F", "0o17", "0b11", "1e3", "1e400", "1.10", "1.", ".5", "+7", "-0", "00", "007", "1_000", "0.10",
		"9007199254740993", "123456789012345678901234567890", "true", "True", "FALSE", ".inf", "-.Inf", ".nan", "2026-01-01", "12:30:45",
		"yes", "on", "Барлығы", "a b", `"000747000012"`, `'1.10'`, "тест # comment", "0742 # a comment",
	} {
		t.Run(s, func(t *testing.T) {
			text := strings.Trim(strings.TrimSpace(strings.SplitN(s, " #", 2)[0]), `"'`)
			file := fmt.Sprintf("text: %[1]s\npointer: %[1]s\nlist:\n- %[1]s\nmap:\n  k: %[1]s\ncodes:\n  k:\n  - %[1]s\nnested:\n- code: %[1]s\ncode: %[1]s\n"+
				"deep:\n  a:\n  - code: %[1]s\n", s)
			var d document
			if err := plainyaml.Unmarshal([]byte("\ufeff"+file), &d); err != nil {
				t.Fatal(err)
			}
			got := []string{d.Text, *d.Pointer, d.List[0], d.Map["k"], string(d.Codes["k"][0]), string(d.Nested[0].Code), string(d.Code), string(d.Deep["a"][0].Code)}
			for i, g := range got {
				if g != text {
					t.Errorf("place %d: %q stands in the file, %q came out", i, text, g)
				}
			}
		})
	}
}

func TestOtherThanTextIsReadAsWhatItIs(t *testing.T) {
	var d document
	err := plainyaml.Unmarshal([]byte("number: 12\nratio: 1.10\nflag: true\nnetwork: 127.0.0.1\ntext: null\nmap: {0742: 010, true: no}\n"), &d)
	if err != nil || d.Number != 12 || d.Ratio != 1.1 || !d.Flag || d.Network != netip.MustParseAddr("127.0.0.1") || d.Text != "" ||
		d.Map["0742"] != "010" || d.Map["true"] != "no" {
		t.Errorf("%+v, %v", d, err)
	}
	d = document{}
	err = plainyaml.Unmarshal([]byte("list: &l [0742, 1.10]\nnested:\n- &n {code: 007}\n- *n\n"), &d)
	if err != nil || strings.Join(d.List, " ") != "0742 1.10" || d.Nested[1].Code != "007" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	for name, file := range map[string]string{
		"a key of no field":       "txt: a\n",
		"a key twice":             "text: a\ntext: b\n",
		"two documents":           "text: a\n---\ntext: b\n",
		"a list where text is":    "text: [a]\n",
		"text where a number is":  "number: twelve\n",
		"what is no YAML":         "text: [a\n",
		"a byte order mark later": "text: a\n\ufefflist: [a]\n",
	} {
		t.Run(name, func(t *testing.T) {
			var d document
			if err := plainyaml.Unmarshal([]byte(file), &d); err == nil {
				t.Errorf("%+v was taken", d)
			}
		})
	}
	var d document
	if err := plainyaml.Unmarshal(nil, &d); err != nil {
		t.Error(err)
	}
}

// Any plain scalar of digits, signs and letters is itself.
func TestEveryPlainScalarIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[+-]?[0-9a-fA-FxobeE_.]{1,12}|\.(inf|nan|5)|[0-9]{12}|[0-9]{1,4}(:[0-9]{2}){1,2}`).Draw(t, "scalar")
		if strings.HasPrefix(s, "-.") && len(s) == 2 {
			return
		}
		var d document
		if err := plainyaml.Unmarshal([]byte("text: "+s+"\nlist:\n- "+s+"\n"), &d); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if d.Text != s || d.List[0] != s {
			t.Fatalf("%q stands in the file, %q and %q came out", s, d.Text, d.List[0])
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte("text: 0742\nlist: [1.10]\nnested:\n- &a {code: 1}\n- *a\nmap: {<<: {a: 1}}\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		var d document
		plainyaml.Unmarshal(data, &d) //nolint:errcheck // it must not panic
	})
}
