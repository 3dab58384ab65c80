package intake

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
)

// maxParts bounds the parts of a multipart body: the request and twenty documents.
const maxParts = 21

// maxPartHeader bounds what may stand before the content of a part: preamble, boundary and header fields.
const maxPartHeader = 16 << 10

// A Portal is a client of this door (R1). One of the two ways is enough.
type Portal struct {
	Name string // as in the form's element "portal"; a metrics label
	// TokenSHA256 is the SHA-256 of the bearer token; the token itself is never kept.
	TokenSHA256 [32]byte
	// CertificateSHA256 is the SHA-256 of the TLS client certificate's DER.
	CertificateSHA256 [32]byte
	// Concurrent bounds the portal's requests that are read or worked on at once; 0 leaves it its share
	// and what is common.
	Concurrent int
	// Addresses are those it calls from: its own token is looked at from there whoever guesses beside it.
	Addresses []netip.Prefix
}

// Register adds the door's routes to mux.
func (d *Desk) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/requests", d.post)
	mux.HandleFunc("GET /v1/requests/{id}", d.get)
	mux.HandleFunc("GET /v1/requests/{id}/receipt", d.getReceipt)
	mux.HandleFunc("GET /v1/requests/{id}/result", d.getResult)
	mux.HandleFunc("/v1/requests", d.wrongMethod("POST"))
	mux.HandleFunc("/v1/requests/{id}", d.wrongMethod("GET"))
}

func (d *Desk) problem(w http.ResponseWriter, r *http.Request, err error) {
	busy, ok := d.busy[gateway.ReasonOf(err)]
	if !ok {
		WriteProblem(w, r, d.c.Texts, err)
		return
	}
	lang := problemHeader(w, r, HTTPStatus(gateway.ReasonOf(err)))
	w.Write(busy[lang]) //nolint:errcheck // the client may be gone
}

func (d *Desk) wrongMethod(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		d.problem(w, r, gateway.Errorf(gateway.MethodNotAllowed, "the method is %s", allow))
	}
}

// authenticate returns the portal's name, by its client certificate or else by its token.
func (d *Desk) authenticate(r *http.Request) (string, error) {
	portals := *d.portals.Load()
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		shown := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		if name := holderOf(portals, func(p Portal) [32]byte { return p.CertificateSHA256 }, shown); name != "" {
			return name, nil
		}
	}
	refused := gateway.Errorf(gateway.PortalUnauthenticated, "send the portal's bearer token or its client certificate")
	bearer, ok := admission.BearerToken(r)
	if !ok {
		return "", refused
	}
	shown := sha256.Sum256([]byte(bearer))
	token := func(p Portal) [32]byte { return p.TokenSHA256 }
	// A portal's own token counts from its own addresses, however many guess from there.
	if name := holderOf(listed(portals, r.RemoteAddr), token, shown); name != "" {
		return name, nil
	}
	name := ""
	err := d.c.House.Guesses().Compare(admission.Credential{Door: "rest", Address: r.RemoteAddr, Digest: shown}, func() error {
		if name = holderOf(portals, token, shown); name == "" {
			return refused
		}
		return nil
	})
	return name, err
}

// holderOf is the name of the portal whose digest it is, "" for nobody's. Every portal is compared, in
// constant time each, so that the answer takes as long for a wrong one as for a right one.
func holderOf(portals []Portal, digest func(Portal) [32]byte, shown [32]byte) (name string) {
	for _, p := range portals {
		d := digest(p)
		if d != [32]byte{} && subtle.ConstantTimeCompare(shown[:], d[:]) == 1 {
			name = p.Name
		}
	}
	return name
}

// listed are the portals that call from the address.
func listed(portals []Portal, address string) (all []Portal) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	for _, p := range portals {
		if slices.ContainsFunc(p.Addresses, func(n netip.Prefix) bool { return n.Contains(at.Addr().Unmap()) }) {
			all = append(all, p)
		}
	}
	return all
}

func (d *Desk) post(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	portal, err := d.authenticate(r)
	if err != nil {
		d.c.Log.Info("refused", "door", "rest", "remote", r.RemoteAddr, "reason", string(gateway.ReasonOf(err)))
		d.observe(r.Context(), "none", nil, err, false, start)
		admission.Dismiss(w, r)
		d.problem(w, r, err)
		return
	}
	refuse := func(err error) {
		d.observe(r.Context(), portal, nil, err, false, start)
		d.problem(w, r, err)
	}
	asXML, err := wantsXML(r)
	if err == nil {
		err = admission.CheckEncoding(r)
	}
	var place *admission.Place
	if err == nil {
		place, err = d.rest.Enter(portal, r.RemoteAddr)
	}
	if err == nil {
		defer place.Leave()
		err = d.desk.Check(portal)
	}
	if err != nil {
		admission.Dismiss(w, r)
		refuse(err)
		return
	}
	doc, files, err := d.read(w, r, place)
	if err == nil {
		err = place.Reserve(admission.Weight(doc))
	}
	if err != nil {
		refuse(err)
		return
	}
	ad, err := d.Admit(r.Context(), portal, doc, files)
	if err != nil {
		d.problem(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Location", d.statusURL(ad.Item.ID))
	h.Set("Cache-Control", "no-store")
	if asXML {
		h.Set("Content-Type", "application/xml; charset=utf-8")
		w.WriteHeader(http.StatusAccepted)
		w.Write(ad.Receipt) //nolint:errcheck // the client may be gone; it repeats and gets the same receipt
		return
	}
	writeJSON(w, http.StatusAccepted, d.jsonReceipt(ad))
}

// A mediaRange is one entry of Accept: how well it fits, where it stands, and its weight.
type mediaRange struct {
	fit, place int
	weight     float64
}

// wantsXML reads Accept with its weights (RFC 9110 §12.5.1). Of two that weigh the same the one that is
// named first is taken, and JSON where one range means both or nothing is said.
func wantsXML(r *http.Request) (bool, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return false, nil
	}
	asJSON, asXML := mediaRange{}, mediaRange{}
	for place, part := range strings.Split(accept, ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		m := mediaRange{place: place, weight: 1}
		if q, given := params["q"]; given {
			if m.weight, err = strconv.ParseFloat(q, 64); err != nil || !(m.weight >= 0 && m.weight <= 1) {
				continue
			}
		}
		switch kind {
		case "application/json":
			m.fit = 3
			asJSON = asJSON.or(m)
		case "application/xml", "text/xml":
			m.fit = 3
			asXML = asXML.or(m)
		case "application/*":
			m.fit = 2
			asJSON, asXML = asJSON.or(m), asXML.or(m)
		case "*/*":
			m.fit = 1
			asJSON, asXML = asJSON.or(m), asXML.or(m)
		}
	}
	if asJSON.weight == 0 && asXML.weight == 0 {
		return false, gateway.Errorf(gateway.NotAcceptable, "application/json and application/xml exist")
	}
	if asJSON.weight == asXML.weight {
		return asXML.place < asJSON.place, nil
	}
	return asXML.weight > asJSON.weight, nil
}

// or is the range that counts for a representation: the one that names it most exactly, of two such the
// heavier.
func (m mediaRange) or(n mediaRange) mediaRange {
	if n.fit > m.fit || n.fit == m.fit && n.weight > m.weight {
		return n
	}
	return m
}

// read takes the signed document and the attached files from the body.
func (d *Desk) read(w http.ResponseWriter, r *http.Request, place *admission.Place) ([]byte, []File, error) {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/xml", "text/xml":
		doc, err := d.readDocument(w, r, place)
		return doc, nil, err
	case "multipart/form-data":
		if params["boundary"] == "" {
			admission.Dismiss(w, r)
			return nil, nil, gateway.Errorf(gateway.MultipartBroken, "the boundary is missing")
		}
		body, err := place.Body(w, r, d.c.MaxBody)
		if err != nil {
			return nil, nil, err
		}
		noted := &notingReader{r: body}
		doc, files, err := readParts(noted, params["boundary"], place)
		if noted.err != nil {
			err = noted.err // the connection's fault, not the multipart's
		}
		if err != nil {
			admission.HangUp(w, r)
		}
		return doc, files, err
	}
	admission.Dismiss(w, r)
	return nil, nil, gateway.Errorf(gateway.MediaType, "send application/xml or multipart/form-data")
}

// readDocument reads a body that is the signed document alone. Who asks for leave to send what is too long
// for a document gets none.
func (d *Desk) readDocument(w http.ResponseWriter, r *http.Request, place *admission.Place) ([]byte, error) {
	most := int64(d.c.MaxDocument)
	if r.Header.Get("Expect") != "" && r.ContentLength > most && r.ContentLength <= d.c.MaxBody {
		admission.HangUp(w, r)
		return nil, gateway.Errorf(gateway.DocumentTooLarge, "%d bytes, at most %d are taken", r.ContentLength, most)
	}
	return place.Read(w, r, d.c.MaxBody)
}

func readParts(r *notingReader, boundary string, place *admission.Place) (doc []byte, files []File, err error) {
	m := multipart.NewReader(r, boundary)
	found := false
	for n := 0; ; n++ {
		r.limit = r.n + maxPartHeader
		part, err := m.NextRawPart()
		r.limit = math.MaxInt64
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, gateway.Errorf(gateway.MultipartBroken, "the multipart body is broken or incomplete")
		}
		if n == maxParts {
			return nil, nil, gateway.Errorf(gateway.MultipartBroken, "at most %d parts are taken", maxParts)
		}
		switch strings.ToLower(part.Header.Get("Content-Transfer-Encoding")) {
		case "", "binary", "8bit", "7bit":
		default: // RFC 7578 §4.7: none is used; decoded or not, other bytes than the signed ones would come out
			return nil, nil, gateway.Errorf(gateway.MultipartBroken,
				"part %d is in a transfer encoding like base64: send its bytes as they are, without Content-Transfer-Encoding", n+1)
		}
		data, err := place.Collect(part, -1)
		if gateway.ReasonOf(err) == gateway.Overload {
			return nil, nil, err
		}
		if err != nil {
			return nil, nil, gateway.Errorf(gateway.MultipartBroken, "the multipart body is broken or incomplete")
		}
		switch {
		case part.FormName() == "request" && found:
			return nil, nil, gateway.Errorf(gateway.MultipartBroken, "the part \"request\" comes twice")
		case part.FormName() == "request":
			found, doc = true, data
		default:
			files = append(files, File{Name: part.FileName(), Data: data})
		}
	}
	if !found {
		return nil, nil, gateway.Errorf(gateway.MultipartBroken, "the part \"request\" is missing")
	}
	return doc, files, nil
}

// A notingReader remembers the error that ended the body, if it was not its end. It ends the body itself
// beyond the limit: header fields are parsed into many times their size before anybody sees them.
type notingReader struct {
	r     io.Reader
	n     int64 // bytes that were read
	limit int64
	err   error
}

func (n *notingReader) Read(p []byte) (int, error) {
	if n.n >= n.limit {
		n.err = gateway.Errorf(gateway.MultipartBroken, "a part's header fields have more than %d bytes", maxPartHeader)
		return 0, n.err
	}
	k, err := n.r.Read(p)
	n.n += int64(k)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client may be gone
}
