package passport_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"
)

var monday = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

func load(t testing.TB) *passport.Register {
	t.Helper()
	r, err := passport.Load(schemas.FS)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02 15:04 -0700", s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// R11: the days off that the government's calendars name, year by year.
func TestWorkingDays(t *testing.T) {
	cal := load(t).Calendar()
	tests := []struct {
		name, day string
		working   bool
	}{
		{"an ordinary Monday", "2026-11-23", true},
		{"a Saturday", "2026-11-21", false},
		{"a Sunday", "2026-11-22", false},
		{"Nauryz on a weekend moves to Tuesday 2026", "2026-03-24", false},
		{"and its second day to Wednesday 2026", "2026-03-25", false},
		{"the day after is worked", "2026-03-26", true},
		{"8 March 2026, a Sunday, moves to Monday", "2026-03-09", false},
		{"9 May 2026, a Saturday, moves to Monday", "2026-05-11", false},
		{"Republic Day 2026, a Sunday, moves to Monday", "2026-10-26", false},
		{"30 August is no holiday since the law of 2026", "2026-08-31", true},
		{"15 March 2026 was before the law", "2026-03-16", true},
		{"Constitution Day 15 March 2027", "2027-03-15", false},
		{"Constitution Day 30 August 2024", "2024-08-30", false},
		{"Orthodox Christmas 2026", "2026-01-07", false},
		{"Orthodox Christmas on a Saturday does not move (2023)", "2023-01-09", true},
		{"Kurban Ait 2026", "2026-05-27", false},
		{"transferred day off 2022", "2022-03-07", false},
		{"and the Saturday worked for it", "2022-03-05", true},
		{"Independence Day 2026", "2026-12-16", false},
		{"17 December is worked since 2022", "2026-12-17", true},
		{"2 January 2027, a Saturday, moves to Monday", "2027-01-04", false},
		{"New Year 2022, a weekend, moves to Monday", "2022-01-03", false},
		{"and its second day to Tuesday", "2022-01-04", false},
		{"Victory Day 2022", "2022-05-09", false},
		{"Defender's Day 2022, a Saturday, moves past Victory Day", "2022-05-10", false},
		{"Kurban Ait 2022, a Saturday, does not move", "2022-07-11", true},
		{"the Saturday worked in August 2022", "2022-08-27", true},
		{"Republic Day 2022", "2022-10-25", false},
		{"1 December is worked since 2022", "2022-12-01", true},
		{"Nauryz 2023", "2023-03-22", false},
		{"Kurban Ait 2023", "2023-06-28", false},
		{"the day off for 1 July 2023", "2023-07-07", false},
		{"1 July 2023, a Saturday that was worked", "2023-07-01", true},
		{"Constitution Day 2023", "2023-08-30", false},
		{"8 May 2024, moved", "2024-05-08", false},
		{"4 May 2024, a Saturday that was worked", "2024-05-04", true},
		{"Independence Day 2024", "2024-12-16", false},
		{"3 January 2025, moved", "2025-01-03", false},
		{"5 January 2025, a Sunday that was worked", "2025-01-05", true},
		{"Kurban Ait 2025", "2025-06-06", false},
		{"Constitution Day 2025, a Saturday, moves to Monday", "2025-09-01", false},
		{"Unity Day 2027, a Saturday, moves to Monday", "2027-05-03", false},
		{"the last year with data ends on a worked Friday", "2027-12-31", true},
		{"New Year 2028, a year without data, a weekend, moves to Monday", "2028-01-03", false},
		{"and its second day to Tuesday", "2028-01-04", false},
		{"Orthodox Christmas 2028", "2028-01-07", false},
		{"Kurban Ait 2028 has no date in the law, so 5 May is worked", "2028-05-05", true},
		{"an ordinary Monday of 2031, a year without data", "2031-05-05", true},
		{"Constitution Day 2031, a Saturday, moves to Monday", "2031-03-17", false},
		{"Victory Day of the last year with four digits", "9999-05-10", false},
		{"31 August 2020, before the data: Constitution Day, a Sunday, moves to Monday", "2020-08-31", false},
		{"1 December 2021, before the data: First President's Day", "2021-12-01", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := cal.WorkingDay(at(t, tt.day+" 12:00 +0500")); got != tt.working {
				t.Errorf("%s: working %v, want %v", tt.day, got, tt.working)
			}
		})
	}
}

func passportOf(t testing.TB, r *passport.Register, id string) *passport.Passport {
	t.Helper()
	for _, p := range r.All() {
		if p.ID == id {
			return p
		}
	}
	t.Fatalf("no passport %s", id)
	return nil
}

// R11, R12: registration and the terms of both regions.
func TestPlan(t *testing.T) {
	r := load(t)
	tests := []struct{ name, passport, received, registered, due string }{
		{"North Kazakhstan, Monday morning: 2h20m, 1, 7, 1 days, 15m", "housing-aid-north-kazakhstan", "2026-11-23 10:00 +0500", "2026-11-23 10:00 +0500", "2026-12-02 12:35 +0500"},
		{"Zhambyl, the same", "housing-aid-zhambyl", "2026-11-23 10:00 +0500", "2026-11-23 10:00 +0500", "2026-12-01 10:30 +0500"},
		{"after hours counts as the next working day", "housing-aid-zhambyl", "2026-11-23 22:00 +0500", "2026-11-24 09:00 +0500", "2026-12-02 09:30 +0500"},
		{"Friday night counts as Monday", "housing-aid-zhambyl", "2026-11-20 18:00 +0500", "2026-11-23 09:00 +0500", "2026-12-01 09:30 +0500"},
		{"before opening counts as the opening", "housing-aid-zhambyl", "2026-11-23 03:00 +0500", "2026-11-23 09:00 +0500", "2026-12-01 09:30 +0500"},
		{"a term over a holiday ends on the next working day", "housing-aid-zhambyl", "2026-12-08 10:00 +0500", "2026-12-08 10:00 +0500", "2026-12-16 10:30 +0500"},
	}
	tests[5].due = "2026-12-17 10:30 +0500" // 15 December + 1 day is Independence Day
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := passportOf(t, r, tt.passport)
			reg := p.Registration(at(t, tt.received))
			if !reg.Equal(at(t, tt.registered)) {
				t.Fatalf("registered %v, want %s", reg, tt.registered)
			}
			plan := p.Plan(reg)
			if got := plan[len(plan)-1].DueAt; !got.Equal(at(t, tt.due)) {
				t.Errorf("due %v, want %s", got, tt.due)
			}
		})
	}
}

// R11: no registration and no deadline ever falls outside working hours, and later requests are never due earlier.
func TestDeadlinesKeepToTheCalendar(t *testing.T) {
	r := load(t)
	from := at(t, "2019-01-03 00:00 +0600")
	rapid.Check(t, func(rt *rapid.T) {
		p := r.All()[rapid.IntRange(0, len(r.All())-1).Draw(rt, "passport")]
		received := from.Add(time.Duration(rapid.Int64Range(0, int64(26*365*24*time.Hour)).Draw(rt, "received")))
		gap := time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(rt, "gap"))
		due := func(recv time.Time) time.Time {
			reg := p.Registration(recv)
			plan := p.Plan(reg)
			last := reg
			for i, s := range append([]gateway.StepPlan{{DueAt: reg}}, plan...) {
				local := s.DueAt.In(r.Calendar().Zone())
				if !r.Calendar().WorkingDay(local) {
					rt.Fatalf("point %d falls on a day off: %v", i, local)
				}
				if h := local.Format("15:04"); h < p.Working.From || h > p.Working.To {
					rt.Fatalf("point %d falls outside working hours: %v", i, local)
				}
				if s.DueAt.Before(last) {
					rt.Fatalf("point %d is before the one before it", i)
				}
				last = s.DueAt
			}
			if reg.Before(recv) {
				rt.Fatalf("registered %v before received %v", reg, recv)
			}
			return last
		}
		if due(received.Add(gap)).Before(due(received)) {
			rt.Fatalf("a request made %v later is due earlier", gap)
		}
	})
}

const good = `<request xmlns="urn:egov-gateway:housing-aid:request:1"><messageId>7ea6369f-18c5-4633-ad73-19de35883e0b</messageId><serviceCode>housing-aid</serviceCode><portal>egov.kz</portal><createdAt>2026-11-23T10:00:00+05:00</createdAt><language>kk</language><applicant><iin>850101100004</iin><surname>Сынақов</surname><givenName>Тест</givenName></applicant><family><member><iin>151231600004</iin><surname>А</surname><givenName>Б</givenName><relation>child</relation></member></family><housing><territory>591010000</territory><locality>Петропавл</locality><street>Абай</street><building>1</building><tenure>owned</tenure><areaSquareMetres>54.20</areaSquareMetres><rooms>2</rooms><monthlyCost>21000</monthlyCost></housing><bankAccount><iban>KZ86125KZT5004100100</iban><bank>Банк</bank></bankAccount><provider><territory>591010000</territory></provider><consent><given>true</given><givenAt>2026-11-23T10:00:00+05:00</givenAt><record>identity</record><record>address</record></consent><attachments><attachment><name>шот.pdf</name><kind>utilities-bill</kind><mediaType>application/pdf</mediaType><size>100</size><sha256>0000000000000000000000000000000000000000000000000000000000000000</sha256></attachment></attachments></request>`

// checkDigitIIN completes eleven digits, so that the fixtures cannot name anybody living.
func checkDigitIIN(t *testing.T, prefix string) string {
	for d := '0'; d <= '9'; d++ {
		if _, err := gateway.ParseIIN(prefix + string(d)); err == nil {
			return prefix + string(d)
		}
	}
	t.Fatal("no check digit for " + prefix)
	return ""
}

// complete puts valid numbers into the fixture: an applicant born in 1885, a child in 2015 of
// a number that was never issued to anybody.
func complete(t *testing.T, doc string) string {
	return strings.NewReplacer("850101100004", checkDigitIIN(t, "85010110001"), "151231600004", checkDigitIIN(t, "15123160000")).Replace(doc)
}

// R2: structure and format; every fault at once, with its path and rule.
func TestFormCheck(t *testing.T) {
	doc := complete(t, good)
	form, err := load(t).Form("urn:egov-gateway:housing-aid:request:1", "request", monday)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(from, to string) string { return strings.Replace(doc, from, to, 1) }
	// birthday is a form made at an instant, with a member who is eighteen on 24 November 2026.
	birthday := func(at string) string {
		s := cut("<member><iin>"+checkDigitIIN(t, "15123160000"), "<member><iin>"+checkDigitIIN(t, "08112450000"))
		return strings.Replace(s, "2026-11-23T10:00:00+05:00</createdAt>", at+"</createdAt>", 1)
	}
	tests := []struct {
		name, doc string
		want      []string // path rule
	}{
		{"faultless", doc, nil},
		{"white space between elements", strings.ReplaceAll(doc, "><", ">\n  <"), []string{}},
		{"a required element is missing", cut("<language>kk</language>", ""), []string{"language missing"}},
		{"two elements are missing", cut("<rooms>2</rooms><monthlyCost>21000</monthlyCost>", ""), []string{"housing/rooms missing", "housing/monthlyCost missing"}},
		{"an element that is not in the schema", cut("<bank>", "<swift>X</swift><bank>"), []string{"bankAccount/bank missing", "bankAccount/swift unexpected"}},
		{"an element twice", cut("<language>kk</language>", "<language>kk</language><language>kk</language>"), []string{"applicant missing", "housing missing", "bankAccount missing", "provider missing", "consent missing", "language unexpected"}},
		{"an element in a foreign namespace", cut("<language>kk</language>", `<x:language xmlns:x="urn:x">kk</x:language>`), []string{"language missing", "applicant missing", "housing missing", "bankAccount missing", "provider missing", "consent missing", "language unexpected"}},
		{"an unknown language", cut("<language>kk</language>", "<language>de</language>"), []string{"language enumeration"}},
		{"an IIN of thirteen digits", cut("<iin>", "<iin>1"), []string{"applicant/iin pattern", "applicant/iin iin"}},
		{"a wrong check digit in the second place", cut("<member><iin>15123160000", "<member><iin>15123160010"), []string{"family/member/iin iin"}},
		{"the applicant as an own family member", cut("<member><iin>"+checkDigitIIN(t, "15123160000"), "<member><iin>"+checkDigitIIN(t, "85010110001")), []string{"family/member/iin repeated", "family/member/consent consent"}},
		{"an adult member without consent", cut("<member><iin>"+checkDigitIIN(t, "15123160000"), "<member><iin>"+checkDigitIIN(t, "90051510002")), []string{"family/member/consent consent"}},
		{"a member in the last second of the last day before the eighteenth birthday", birthday("2026-11-23T23:59:59+05:00"), nil},
		{"a member in the first second of the eighteenth birthday", birthday("2026-11-24T00:00:00+05:00"), []string{"family/member/consent consent"}},
		{"the same second, written in another zone", birthday("2026-11-23T19:00:00Z"), []string{"family/member/consent consent"}},
		{"a dwelling in another district than the provider", cut("<housing><territory>591010000", "<housing><territory>593620100"), []string{"housing/territory territory"}},
		{"a consent given after the request was made", cut("<givenAt>2026-11-23", "<givenAt>2026-11-24"), []string{"consent/givenAt order"}},
		{"an IBAN with wrong check digits", cut("KZ86", "KZ87"), []string{"bankAccount/iban iban"}},
		{"a date without offset", cut("10:00:00+05:00</createdAt>", "10:00:00</createdAt>"), []string{"createdAt type"}},
		{"a date that does not exist", cut("2026-11-23T10:00:00+05:00</createdAt>", "2026-02-30T10:00:00+05:00</createdAt>"), []string{"createdAt type"}},
		{"an area of zero", cut("54.20", "0"), []string{"housing/areaSquareMetres range"}},
		{"an area with three decimals", cut("54.20", "54.201"), []string{"housing/areaSquareMetres range"}},
		{"an area that is no number", cut("54.20", "wide"), []string{"housing/areaSquareMetres type"}},
		{"a name of blanks", cut("Сынақов", "   "), []string{"applicant/surname pattern"}},
		{"a name of 201 letters", cut("Сынақов", strings.Repeat("ә", 201)), []string{"applicant/surname length"}},
		{"an attachment name with a slash", cut("шот.pdf", "../шот.pdf"), []string{"attachments/attachment/name pattern"}},
		{"text between elements", cut("<language>", "text<language>"), []string{" text"}},
		{"an unexpected attribute", cut("<language>", `<language x="1">`), []string{"language unexpected"}},
		{"an element inside a value", cut("kk</language>", "kk<b/></language>"), []string{"language unexpected"}},
		{"another root", `<other xmlns="urn:egov-gateway:housing-aid:request:1"/>`, []string{" unexpected"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := xmlsig.Scan([]byte(tt.doc), xmlsig.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range form.Check(d.Root()) {
				got = append(got, f.Path+" "+f.Rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !slices.ContainsFunc(tt.want, func(w string) bool {
				_, rule, _ := strings.Cut(w, " ")
				return slices.Contains([]string{passport.RuleIIN, passport.RuleIBAN, passport.RuleRepeated, passport.RuleConsent, passport.RuleTerritory, passport.RuleOrder}, rule)
			}) && tt.name != "a date without offset" {
				agrees(t, tt.doc, len(tt.want) == 0)
			}
		})
	}
}

// agrees asks xmllint for its verdict on the same document and schema.
func agrees(t *testing.T, doc string, valid bool) {
	t.Helper()
	tool.Path(t, "xmllint", "libxml2-utils")
	dir := t.TempDir()
	xsd, _ := schemas.FS.ReadFile("housing-aid-request.xsd")
	os.WriteFile(filepath.Join(dir, "s.xsd"), xsd, 0o600)
	os.WriteFile(filepath.Join(dir, "d.xml"), []byte(doc), 0o600)
	out, err := exec.Command("xmllint", "--noout", "--schema", filepath.Join(dir, "s.xsd"), filepath.Join(dir, "d.xml")).CombinedOutput()
	if (err == nil) != valid {
		t.Errorf("xmllint does not agree (valid %v): %s", err == nil, out)
	}
}

func TestTheCheckDigitOfABIN(t *testing.T) {
	xsd := `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x" elementFormDefault="qualified"><xs:element name="r"><xs:complexType><xs:sequence><xs:element name="bin" type="xs:string" maxOccurs="5"/></xs:sequence></xs:complexType></xs:element></xs:schema>`
	form, err := passport.CompileForm([]byte(xsd), []passport.FormRule{{Rule: passport.FormBIN, At: []string{"bin"}}})
	if err != nil {
		t.Fatal(err)
	}
	good := ""
	for d := '0'; d <= '9'; d++ {
		if _, err := gateway.ParseBIN("99014000000" + string(d)); err == nil {
			good = "99014000000" + string(d)
		}
	}
	bad := good[:9] + "1" + good[10:]
	d, err := xmlsig.Scan([]byte(`<r xmlns="urn:x"><bin>`+good+`</bin><bin>`+bad+`</bin></r>`), xmlsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if faults := form.Check(d.Root()); len(faults) != 1 || faults[0].Path != "bin[2]" || faults[0].Rule != passport.RuleBIN {
		t.Errorf("faults %+v", faults)
	}
}

func TestRead(t *testing.T) {
	iin := checkDigitIIN(t, "85010110001")
	d, err := xmlsig.Scan([]byte(complete(t, good)), xmlsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := passport.Read(d.Root())
	if err != nil {
		t.Fatal(err)
	}
	if r.Applicant.Reveal() != iin || r.Territory != "591010000" || len(r.Consent) != 2 || len(r.Attachments) != 1 || r.Attachments[0].Size != 100 || r.Language != gateway.Kazakh {
		t.Errorf("got %+v", r)
	}
	if !(&passport.Condition{Field: "housing/tenure", Is: "owned"}).Holds(d.Root()) || (&passport.Condition{Field: "representative"}).Holds(d.Root()) {
		t.Error("conditions on the form do not hold as they should")
	}
}

func TestCompileFormNamesWhatItDoesNotSupport(t *testing.T) {
	wrap := func(s string) string {
		return `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x" elementFormDefault="qualified">` + s + `</xs:schema>`
	}
	tests := []struct{ name, xsd, want string }{
		{"xs:all", wrap(`<xs:element name="r"><xs:complexType><xs:all/></xs:complexType></xs:element>`), "xs:all"},
		{"an import", wrap(`<xs:import namespace="urn:y"/>`), "xs:import"},
		{"a facet", wrap(`<xs:element name="r"><xs:simpleType><xs:restriction base="xs:string"><xs:whiteSpace value="collapse"/></xs:restriction></xs:simpleType></xs:element>`), "xs:whiteSpace"},
		{"a built-in type", wrap(`<xs:element name="r" type="xs:gYear"/>`), "xs:gYear"},
		{"a pattern that Go reads otherwise", wrap(`<xs:element name="r"><xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="^a$"/></xs:restriction></xs:simpleType></xs:element>`), "pattern"},
		{"two roots", wrap(`<xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:string"/>`), "one global element"},
		{"unqualified elements", `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>`, "elementFormDefault"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := passport.CompileForm([]byte(tt.xsd), nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzFormCheck(f *testing.F) {
	form, err := load(f).Form("urn:egov-gateway:housing-aid:request:1", "request", monday)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := xmlsig.Scan(doc, xmlsig.Limits{})
		if err != nil {
			return
		}
		if faults := form.Check(d.Root()); len(faults) == 0 {
			if _, err := passport.Read(d.Root()); err != nil {
				t.Errorf("faultless, but cannot be read: %v", err)
			}
		}
	})
}
