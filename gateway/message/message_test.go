package message_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/diagram"
	"egov-gateway/gateway/message"
	"egov-gateway/schemas"
)

func load(t *testing.T) *message.Catalogue {
	t.Helper()
	c, err := message.Load(schemas.FS, time.FixedZone("", 5*3600))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// R21: every message to a person exists in Kazakh, Russian and English, and differs between them.
func TestEveryTextExistsInThreeLanguages(t *testing.T) {
	c := load(t)
	for _, key := range c.Keys() {
		kk, ru, en := c.Text(gateway.Kazakh, key), c.Text(gateway.Russian, key), c.Text(gateway.English, key)
		if kk == "" || ru == "" || en == "" || kk == en || ru == en {
			t.Errorf("%s: %q %q %q", key, kk, ru, en)
		}
		if strings.Count(kk, "%d") != strings.Count(ru, "%d") || strings.Count(kk, "%s") != strings.Count(ru, "%s") || strings.Count(ru, "%s") != strings.Count(en, "%s") {
			t.Errorf("%s takes another number of values in another language", key)
		}
	}
	for word, want := range map[string]string{"status.verified": "Проверено", "status.refused": "Не проверено", "status.indeterminate": "Невозможно проверить"} {
		if got := c.Text(gateway.Russian, word); got != want {
			t.Errorf("the official word of %s is %q, got %q", word, want, got)
		}
	}
}

// A key that nothing uses is a text that nobody keeps right.
func TestNoKeyIsUnused(t *testing.T) {
	lists := map[string][]string{}
	add := func(prefix string, names ...string) { lists[prefix] = append(lists[prefix], names...) }
	for _, r := range gateway.Reasons() {
		add("reason", string(r))
	}
	for _, s := range gateway.States {
		add("state", string(s))
	}
	for _, k := range gateway.EventKinds {
		add("event", string(k))
	}
	for _, n := range gateway.Checks {
		add("check", string(n))
	}
	for _, k := range gateway.RecordKinds {
		add("record", string(k))
	}
	add("status", string(gateway.Verified), string(gateway.Refused), string(gateway.Indeterminate))
	for _, k := range gateway.ResultKinds {
		add("result", string(k))
	}
	for _, d := range gateway.DeadlineStates {
		add("deadline", string(d))
	}
	add("outcome", "satisfied", "partly", "rejected") // schemas/result.xsd
	add("cabinet", "days_left.one", "days_left.few", "days_left.many", "days_left.other")
	add("console", "days_left.one", "days_left.few", "days_left.many", "days_left.other")
	for _, p := range []string{"days", "will_redrive", "gone", "refused_since"} {
		add("console", p+".one", p+".few", p+".many", p+".other")
	}
	for _, p := range append(console.Paths, "sign_in", "refusal", "preview", "redriven") {
		add("console.page", p)
	}
	for _, a := range console.Actions {
		add("console.action", a)
	}
	add("console.role", "register", "provider", "portal", "region", "revocation", "anchor", "intermediate", "own", "partner", "tls")
	add("console", "list_full", "list_delta")
	add("region", "north-kazakhstan", "zhambyl", "national") // the shards of schemas/passports
	add("source", "gbdfl", "gbdrn", "socialpayments", "income", "alimony", "employment")
	add("fact", string(gateway.FactFound), string(gateway.FactNoData), string(gateway.FactUnavailable))
	add("diagram", "title")
	for _, n := range diagram.Nodes {
		add("diagram", n.ID)
	}
	for _, l := range diagram.Lanes {
		add("diagram.lane", l)
	}
	partial := map[string]bool{"console.list_": true} // completed where they are used
	used := map[string]bool{}
	for prefix, names := range lists {
		for _, n := range names {
			used[prefix+"."+n] = true
		}
	}
	literal := regexp.MustCompile(`"((?:cabinet|notice|console)\.[a-z_]+)"`)
	rule := regexp.MustCompile(`(?m)^\tRule[A-Za-z]+ += "([a-z]+)"`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range literal.FindAllStringSubmatch(string(b), -1) {
			used[m[1]] = true
		}
		for _, m := range rule.FindAllStringSubmatch(string(b), -1) {
			used["rule."+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := load(t)
	have := map[string]bool{}
	for _, key := range c.Keys() {
		have[key] = true
		if !used[key] {
			t.Errorf("%s is not used", key)
		}
	}
	for key := range used {
		if !have[key] && !have[key+".one"] && !partial[key] {
			t.Errorf("%s is used and has no text", key)
		}
	}
}

func TestLoadNamesWhatIsMissing(t *testing.T) {
	files := fstest.MapFS{}
	for _, l := range gateway.Languages {
		name := "messages/" + string(l) + ".yaml"
		b, _ := schemas.FS.ReadFile(name)
		files[name] = &fstest.MapFile{Data: b}
	}
	kk := string(files["messages/kk.yaml"].Data)
	files["messages/kk.yaml"].Data = []byte(regexp.MustCompile(`(?m)^reason\.revocation\.revoked:.*\n`).ReplaceAllString(kk, ""))
	if _, err := message.Load(files, time.UTC); err == nil || !strings.Contains(err.Error(), "kk.yaml has no text for reason.revocation.revoked") {
		t.Errorf("got %v", err)
	}
}

func TestNegotiate(t *testing.T) {
	tests := []struct {
		name, header string
		want         gateway.Language
	}{
		{"nothing asked", "", gateway.Kazakh},
		{"Russian", "ru", gateway.Russian},
		{"a region", "en-GB", gateway.English},
		{"the first of equals", "ru, en", gateway.Russian},
		{"weights", "ru;q=0.4, en;q=0.9", gateway.English},
		{"a language that does not exist here", "de, fr;q=0.9", gateway.Kazakh},
		{"a weight that is none", "ru;q=x, en;q=0.1", gateway.English},
		{"refused by weight", "ru;q=0", gateway.Kazakh},
		{"garbage", ";;;,,,=", gateway.Kazakh},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := message.Negotiate(tt.header, gateway.Kazakh); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestDatesAreWrittenInTheCountrysTime(t *testing.T) {
	c := load(t)
	at := time.Date(2026, 11, 23, 20, 30, 0, 0, time.UTC)
	if got := c.DateTime(gateway.Russian, at); got != "24.11.2026, 01:30" {
		t.Errorf("got %s", got)
	}
	if got := c.DateTime(gateway.English, at); got != "24 November 2026, 01:30" {
		t.Errorf("got %s", got)
	}
	if got := c.DateTime(gateway.Kazakh, time.Time{}); got != "" {
		t.Errorf("no time is %q", got)
	}
}

func TestPluralsFollowEachLanguage(t *testing.T) {
	c := load(t)
	for n, want := range map[int]string{0: "осталось 0 дней", 1: "остался 1 день", 2: "осталось 2 дня", 5: "осталось 5 дней", 11: "осталось 11 дней", 12: "осталось 12 дней", 21: "остался 21 день", 22: "осталось 22 дня", 111: "осталось 111 дней"} {
		if got := c.Plural(gateway.Russian, "cabinet.days_left", n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{1: "1 day left", 2: "2 days left", 21: "21 days left"} {
		if got := c.Plural(gateway.English, "cabinet.days_left", n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := c.Plural(gateway.Kazakh, "cabinet.days_left", 3); got != "3 күн қалды" {
		t.Errorf("got %q", got)
	}
}

func TestAmountsAreWrittenAsEachLanguageDoes(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		lang     gateway.Language
		in, want string
	}{{gateway.Kazakh, "9894.40", "9\u00a0894,40"}, {gateway.Russian, "1234567", "1\u00a0234\u00a0567"}, {gateway.English, "1234567.5", "1,234,567.5"}, {gateway.Russian, "0.00", "0,00"}, {gateway.Russian, "12e3", "12e3"}} {
		if got := c.Amount(tt.lang, tt.in); got != tt.want {
			t.Errorf("%s %s: %q", tt.lang, tt.in, got)
		}
	}
}

// R10, R21: the notice gives date and time of the result; of a provisional one it says so in the
// reader's language, with the year that nobody has announced yet.
func TestTheNoticeOfAProvisionalDate(t *testing.T) {
	c := load(t)
	d := gateway.Dossier{RegisteredAt: time.Date(2027, 12, 28, 5, 0, 0, 0, time.UTC), DueAt: time.Date(2027, 12, 31, 20, 0, 0, 0, time.UTC)}
	for l, want := range map[gateway.Language]struct{ accepted, provisional string }{
		gateway.Kazakh: {"Сіздің өтінішіңіз қабылданды және 28.12.2027, 10:00 тіркелді. Нәтиже 01.01.2028, 01:00 дейін беріледі.",
			" Мерзім алдын ала есептелген: Үкіметтің 2028 жылы демалыс күндерін ауыстыру туралы шешімі әзірге белгісіз. Шешім шыққанда осы өтініштің мерзімі өзгермейді."},
		gateway.Russian: {"Ваш запрос принят и зарегистрирован 28.12.2027, 10:00. Результат будет выдан до 01.01.2028, 01:00.",
			" Срок предварительный: решение Правительства о переносе выходных дней в 2028 году пока неизвестно. Когда оно появится, срок по этому запросу не изменится."},
		gateway.English: {"Your request is accepted and registered on 28 December 2027, 10:00. The result will be given by 1 January 2028, 01:00.",
			" The date is provisional: the Government's decision on moving days off in 2028 is not known yet. This request keeps its date when it is."},
	} {
		d.Provisional = false
		if got := c.Acceptance(l, &d); got != want.accepted {
			t.Errorf("%s: %q", l, got)
		}
		d.Provisional = true
		if got := c.Acceptance(l, &d); got != want.accepted+want.provisional {
			t.Errorf("%s, provisional: %q", l, got)
		}
	}
}
