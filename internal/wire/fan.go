package wire

import "encoding/binary"

// FanMember says what a hop sends on: each frame of a fan goes to Dst, for Handle and Reply.
type FanMember struct {
	Dst           ContextID
	Handle, Reply Handle
}

// FanMemberSize is the number of bytes of a member.
const FanMemberSize = 12

// AppendFanMembers appends the payload of a FAN that names members.
func AppendFanMembers(b []byte, members []FanMember) []byte {
	for _, m := range members {
		b = binary.BigEndian.AppendUint32(b, uint32(m.Dst))
		b = binary.BigEndian.AppendUint32(b, uint32(m.Handle))
		b = binary.BigEndian.AppendUint32(b, uint32(m.Reply))
	}
	return b
}

// ParseFanMembers is the inverse of AppendFanMembers. Bytes that are no whole member are left out.
func ParseFanMembers(b []byte) (members []FanMember) {
	for ; len(b) >= FanMemberSize; b = b[FanMemberSize:] {
		members = append(members, FanMember{
			Dst:    ContextID(binary.BigEndian.Uint32(b)),
			Handle: Handle(binary.BigEndian.Uint32(b[4:])),
			Reply:  Handle(binary.BigEndian.Uint32(b[8:])),
		})
	}
	return members
}
