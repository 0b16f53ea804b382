package methods

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// A Mask hides secrets in texts of programs and hosts that may repeat them: as they are, quoted or
// escaped for a shell or a language, in base64 or hexadecimal digits, and with line ends, control
// characters or escape sequences in between. It keeps no secret, but hashes. The zero value hides
// nothing. Its methods may be called by any goroutine.
type Mask struct {
	mu    sync.RWMutex      // protects following
	forms map[uint64][]form // by roll
	sizes [readings][]int   // of forms, for each reading
	long  int               // of the longest form
}

// A form identifies a secret in a text that is read in one way.
type form struct {
	reading
	size int
	sum  [sha256.Size]byte
}

// A reading makes of a text what is searched.
type reading int

// The readings.
const (
	exact    reading = iota // as it is
	word                    // as it is, between other characters than letters and digits
	plainest                // without quotes, control characters and the like
	readings
)

// shortSecret is the size in bytes below which a secret is only hidden where it stands alone: it is
// a part of ordinary words.
const shortSecret = 4

// Masked stands in place of a secret.
const Masked = "***"

// Add has a secret hidden from now on.
func (m *Mask) Add(secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	bare := read(secret, nil)
	defer clear(bare.text)
	switch {
	case secret == "":
	case len(secret) < shortSecret:
		m.addLocked(word, secret)
	case len(bare.text) < shortSecret:
		quoted := strconv.Quote(secret)
		for _, s := range []string{secret, QuoteCommand([]string{secret}),
			strings.ReplaceAll(secret, "'", `'\''`), quoted[1 : len(quoted)-1]} {
			m.addLocked(exact, s)
		}
	default:
		// no copy, which would stay on the stack
		b := unsafe.Slice(unsafe.StringData(secret), len(secret))
		whole := b[:len(b)/3*3] // the rest depends on what follows
		for _, s := range []string{secret, url.QueryEscape(secret), hex.EncodeToString(b),
			strings.ToUpper(hex.EncodeToString(b)), base64.StdEncoding.EncodeToString(whole),
			base64.URLEncoding.EncodeToString(whole)} {
			bare := read(s, nil).text
			m.addLocked(plainest, unsafe.String(unsafe.SliceData(bare), len(bare)))
			clear(bare)
		}
	}
}

func (m *Mask) addLocked(r reading, s string) {
	if m.forms == nil {
		m.forms = map[uint64][]form{}
	}
	b := unsafe.Slice(unsafe.StringData(s), len(s)) // no copy
	f, sum := form{r, len(s), digest(b)}, roll(b)
	if !slices.Contains(m.forms[sum], f) {
		m.forms[sum] = append(m.forms[sum], f)
	}
	if !slices.Contains(m.sizes[r], len(s)) {
		m.sizes[r] = append(m.sizes[r], len(s))
	}
	m.long = max(m.long, len(s))
}

// Hide returns text without the secrets. A text of TextLimit or more has lost its beginning: so
// much of what is left is dropped as could be the end of a secret.
func (m *Mask) Hide(text string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.forms) == 0 {
		return text
	}
	if len(text) >= TextLimit {
		text = tail(text, len(text)-min(len(text), m.long-1))
	}
	var spans []span
	for _, v := range views(text) {
		spans = append(spans, m.findLocked(v)...)
	}
	return replace(text, spans)
}

// A span is a part of a text, in bytes.
type span struct{ begin, end int }

func replace(text string, spans []span) string {
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return a.begin - b.begin })
	var b strings.Builder
	at, masked := 0, false
	for _, s := range spans {
		if s.begin > at || !masked {
			b.WriteString(text[at:max(at, s.begin)])
			b.WriteString(Masked)
		}
		at, masked = max(at, s.end), true
	}
	b.WriteString(text[at:])
	return b.String()
}

// A view is a text as it is searched, and where each byte comes from.
type view struct {
	readings []reading
	text     []byte
	from     []span
}

// views returns a text in all ways to search it. What isn't escaped needs no view of escapes.
func views(text string) []view {
	raw := view{readings: []reading{exact, word}, text: []byte(text), from: make([]span, len(text))}
	for i := range raw.from {
		raw.from[i] = span{i, i + 1}
	}
	all := []view{raw, read(text, nil)}
	if strings.ContainsAny(text, `\%`) {
		all = append(all, read(text, unescapeBytes), read(text, unescapeRunes), read(text, uncleaned))
	}
	return all
}

// findLocked returns where secrets are in a view.
func (m *Mask) findLocked(v view) (found []span) {
	for _, r := range v.readings {
		for _, size := range m.sizes[r] {
			windows(v.text, size, func(at int, sum uint64) {
				if m.knowsLocked(r, v.text[at:at+size], sum) && (r != word || alone(v.text, at, at+size)) {
					found = append(found, span{v.from[at].begin, v.from[at+size-1].end})
				}
			})
		}
	}
	return found
}

func (m *Mask) knowsLocked(r reading, text []byte, sum uint64) bool {
	forms := m.forms[sum]
	return len(forms) > 0 && slices.Contains(forms, form{r, len(text), digest(text)})
}

// alone tells whether neither letters nor digits are beside text[begin:end].
func alone(text []byte, begin, end int) bool {
	letter := func(i int) bool {
		return i >= 0 && i < len(text) &&
			(text[i] >= utf8.RuneSelf || text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z' ||
				text[i] >= '0' && text[i] <= '9')
	}
	return !letter(begin-1) && !letter(end)
}

// hashKey and rollBase are this process's own.
var (
	hashKey  = binary.LittleEndian.AppendUint64(nil, rand.Uint64())
	rollBase = rand.Uint64() | 1
)

func digest(b []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, hashKey)
	h.Write(b)
	h.Write(zeros[:]) // takes the place of what the hash still holds of b
	h.Sum(sum[:0])
	return sum
}

// zeros fill a block of the hash.
var zeros [sha256.BlockSize]byte

// roll is a hash that windows can move over a text.
func roll(b []byte) (h uint64) {
	for _, c := range b {
		h = h*rollBase + uint64(c)
	}
	return h
}

// windows calls f for each part of text of a size, with its hash.
func windows(text []byte, size int, f func(at int, sum uint64)) {
	if size > len(text) {
		return
	}
	top := uint64(1)
	for range size - 1 {
		top *= rollBase
	}
	sum := roll(text[:size])
	for at := 0; ; at++ {
		f(at, sum)
		if at+size == len(text) {
			return
		}
		sum = (sum-uint64(text[at])*top)*rollBase + uint64(text[at+size])
	}
}
