package pickle

// The opcodes of docs/protocol/wire.md section 4, and INT, in which Python 2 sends integers of 33
// to 64 bits.
const (
	opMark          = '('
	opStop          = '.'
	opPop           = '0'
	opPopMark       = '1'
	opBuild         = 'b'
	opObject        = 'o'
	opFloat         = 'G' // 8 bytes, big-endian
	opInt           = 'I' // decimal text, newline
	opInt4          = 'J' // 4 bytes, little-endian, signed
	opInt1          = 'K' // 1 byte
	opInt2          = 'M' // 2 bytes, little-endian
	opNone          = 'N'
	opReduce        = 'R'
	opBinString     = 'T' // 4 bytes length, signed
	opShortString   = 'U' // 1 byte length
	opUnicode       = 'X' // 4 bytes length
	opAppend        = 'a'
	opBinBytes      = 'B' // 4 bytes length
	opShortBytes    = 'C' // 1 byte length
	opGlobal        = 'c' // module, newline, name, newline
	opAppends       = 'e'
	opGet           = 'h' // 1 byte
	opLongGet       = 'j' // 4 bytes
	opPut           = 'q' // 1 byte
	opLongPut       = 'r' // 4 bytes
	opSetItem       = 's'
	opTuple         = 't'
	opSetItems      = 'u'
	opEmptyDict     = '}'
	opEmptyList     = ']'
	opEmptyTuple    = ')'
	opProto         = 0x80 // 1 byte
	opNewObject     = 0x81
	opTuple1        = 0x85
	opTuple2        = 0x86
	opTuple3        = 0x87
	opTrue          = 0x88
	opFalse         = 0x89
	opLong1         = 0x8a // 1 byte length, little-endian two's complement
	opLong4         = 0x8b // 4 bytes length, signed
	opShortUnicode  = 0x8c // 1 byte length
	opUnicode8      = 0x8d // 8 bytes length
	opBinBytes8     = 0x8e // 8 bytes length
	opEmptySet      = 0x8f
	opAddItems      = 0x90
	opFrozenSet     = 0x91
	opNewObjectEx   = 0x92
	opStackGlobal   = 0x93
	opMemoize       = 0x94
	opFrame         = 0x95 // 8 bytes length
	opByteArray8    = 0x96 // 8 bytes length
	lowestProtocol  = 2
	highestProtocol = 5
)
