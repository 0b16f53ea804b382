// Package seriallink makes a clean stream of bytes of a line that damages, loses, doubles and adds
// some: docs/protocol/line.md. It is pure: bytes and the time go in, records and lines come out.
// The far end of a link is python/serial.py.
package seriallink

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// Kind says what a frame is.
type Kind byte

// The kinds. Frames of the first three are numbered, acknowledged, and sent again if they are lost.
const (
	Data  Kind = 1 // of stdin on the way there, of stdout on the way back
	Error Kind = 2 // of stderr; on the way back only
	End   Kind = 3 // of stdin; on the way back of the process, with its status as decimal digits
	ack   Kind = 4 // with a bitmap of the frames held behind a missing one
	probe Kind = 5 // all byte values, in the 8-bit coding
	leave Kind = 6 // the link ends now
)

// heard is added to a kind by an end that has read a frame in the 8-bit coding.
const heard = 0x40

// Sizes in bytes.
const (
	MaxPayload = 248
	overhead   = 3 + 4 // kind, number, acknowledgement, and the check behind the payload
	maxBody    = 256 + overhead
	maxLine    = 2*maxBody + 2 // were all of it escaped
)

// What begins and ends a line on the wire.
const (
	markText = '%' // base64
	markByte = '&' // 8-bit
	endLine  = '\n'
)

// frame is the content of a line.
type frame struct {
	kind    Kind
	heard   bool
	seq     uint8
	ack     uint8
	payload []byte
}

// escaped are the bytes that consoles, terminals and programs before them keep for themselves; an
// escape is the byte that follows them here, behind an equals sign.
var escaped = [256]byte{
	'=': '=' + 64, '\n': '\n' + 64, '\r': '\r' + 64, 0x11: 0x11 + 64, 0x13: 0x13 + 64,
	'~':  '~' + 64,
	0xff: 0xff & (0xff + 64), 0x05: 0x05 + 64, 0x1d: 0x1d + 64, 0: 64, '%': '%' + 64, '&': '&' + 64,
}

// seeds are the initial values of the checks of both directions, so that an echo is no frame.
func seeds(key uint32) (down, up uint32) { return key, ^key }

// appendLine appends the line of f to out.
func appendLine(out []byte, f frame, seed uint32, eight bool) []byte {
	kind := byte(f.kind)
	if f.heard {
		kind |= heard
	}
	body := make([]byte, 0, maxBody)
	body = append(body, kind, f.seq, f.ack)
	body = append(body, f.payload...)
	body = binary.BigEndian.AppendUint32(body, crc32.Update(seed, crc32.IEEETable, body))
	if !eight {
		out = append(out, markText)
		return append(base64.StdEncoding.AppendEncode(out, body), endLine)
	}
	out = append(out, markByte)
	for _, b := range body {
		if escaped[b] != 0 {
			out = append(out, '=', escaped[b])
		} else {
			out = append(out, b)
		}
	}
	return append(out, endLine)
}

// parseLine reads a line without its end. What stands before the last mark is noise. ok is false
// for what is no frame of this direction and key.
func parseLine(line []byte, seed uint32) (f frame, eight, ok bool) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	at := bytes.LastIndexAny(line, string([]byte{markText, markByte}))
	if at < 0 || len(line) > maxLine {
		return f, false, false
	}
	var body []byte
	if eight = line[at] == markByte; eight {
		body, ok = unescape(line[at+1:])
	} else {
		body, ok = fromText(line[at+1:])
	}
	if !ok || len(body) < overhead || len(body) > maxBody {
		return f, false, false
	}
	text, check := body[:len(body)-4], body[len(body)-4:]
	if crc32.Update(seed, crc32.IEEETable, text) != binary.BigEndian.Uint32(check) {
		return f, false, false
	}
	return frame{Kind(text[0] &^ heard), text[0]&heard != 0, text[1], text[2], text[3:]}, eight,
		true
}

func fromText(text []byte) ([]byte, bool) {
	body, err := base64.StdEncoding.AppendDecode(nil, text)
	return body, err == nil
}

func unescape(text []byte) ([]byte, bool) {
	body := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b == '=' {
			if i++; i == len(text) {
				return nil, false
			}
			if b = text[i] - 64; escaped[b] == 0 {
				return nil, false
			}
		}
		body = append(body, b)
	}
	return body, true
}

// Farewell ends a link that an earlier client has left on the line. It is no line: it can be
// typed to a login or a shell, and taken back. It needs no key: who can type on the line can end
// what is typed on it. No line of a link holds it, since each has one mark.
const Farewell = "%&%&%&%&"

// scanner cuts what comes into lines.
type scanner struct {
	held     []byte
	farewell bool // has come
}

// feed calls each with every whole line. What has no end keeps room for one line.
func (s *scanner) feed(b []byte, each func(line []byte)) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, endLine)
		if end < 0 {
			s.held = append(s.held, b...)
			if over := len(s.held) - maxLine; over > 0 {
				s.held = append(s.held[:0], s.held[over:]...)
			}
			s.farewell = s.farewell || bytes.Contains(s.held, []byte(Farewell))
			return
		}
		s.farewell = s.farewell || bytes.Contains(b[:end], []byte(Farewell))
		if len(s.held) > 0 {
			s.held = append(s.held, b[:end]...)
			each(s.held)
			s.held = s.held[:0]
		} else {
			each(b[:end])
		}
		b = b[end+1:]
	}
}
