package file

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A frame is a record's place in a segment: CRC32C (4 bytes), length of the body (4), tag (4), where its group began (4), body. CRC and tag cover
// the number of the segment and the position in it: what an earlier life of a recycled file left behind never reads as live. A group is what one
// sync made durable: a bad frame with valid ones behind it is a torn end when they are of its own group, and damage when a later group stands there.
const frameHead = 16

// sealLength in place of a body's length says that the segment ends here.
const sealLength = 1<<32 - 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func tagOf(segment uint64, pos int64) uint32 {
	return uint32(segment)*0x9E3779B1 ^ uint32(segment>>32)*0x7FEB352D ^ uint32(pos)*0x85EBCA6B ^ 0x0A3D2B17
}

// putHead fills in the head of a frame whose body stands after it; length is sealLength for a seal.
func putHead(frame []byte, segment uint64, pos, group int64, length uint32) {
	binary.LittleEndian.PutUint32(frame[4:], length)
	binary.LittleEndian.PutUint32(frame[8:], tagOf(segment, pos))
	binary.LittleEndian.PutUint32(frame[12:], uint32(group))
	binary.LittleEndian.PutUint32(frame, checksum(frame, segment, pos))
}

// checksum covers segment, position, length, tag, group and body.
func checksum(frame []byte, segment uint64, pos int64) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], segment)
	binary.LittleEndian.PutUint64(place[8:], uint64(pos))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, frame[4:])
}

// A found is what stands at a position.
type found uint8

const (
	nothing found = iota // no valid frame
	aRecord
	aSeal
)

// readFrame looks at b[0:], which is position pos of a segment, and returns the body.
func readFrame(b []byte, segment uint64, pos int64) ([]byte, found) {
	if len(b) < frameHead || binary.LittleEndian.Uint32(b[8:]) != tagOf(segment, pos) {
		return nil, nothing
	}
	length := binary.LittleEndian.Uint32(b[4:])
	size := int64(length)
	if length == sealLength {
		size = 0
	}
	if size > int64(len(b)-frameHead) {
		return nil, nothing
	}
	frame := b[:frameHead+size]
	if binary.LittleEndian.Uint32(frame) != checksum(frame, segment, pos) {
		return nil, nothing
	}
	if length == sealLength {
		return nil, aSeal
	}
	return frame[frameHead:], aRecord
}

// blank is a stretch of what was never written.
var blank [4096]byte

// nextFrame finds the first valid frame at or after from. Behind the end of the log are megabytes of zeros, where no tag stands but that of untagged.
func nextFrame(b []byte, segment uint64, from int64) (int64, bool) {
	none := untagged(segment)
	for pos := from; pos+frameHead <= int64(len(b)); pos++ {
		tag := le32(b[pos+8:])
		if tag == 0 && int64(len(b))-pos-8 >= int64(len(blank)) && bytes.Equal(b[pos+8:][:len(blank)], blank[:]) {
			if last := pos + int64(len(blank)) - 4; none < pos || none > last {
				pos = last // Of all tags that are zeros here.
				continue
			}
		}
		if tag != tagOf(segment, pos) {
			continue
		}
		if _, what := readFrame(b[pos:], segment, pos); what != nothing {
			return pos, true
		}
	}
	return 0, false
}

// untagged is the one position of a segment whose tag is 0: its factor in tagOf is odd, and this is its inverse.
func untagged(segment uint64) int64 { return int64(tagOf(segment, 0) * 0xA5CB9243) }

// offsetOf joins segment and position to an offset; offsets grow along the log.
func offsetOf(segment uint64, pos int64) int64 { return int64(segment)<<32 | pos }

func placeOf(offset int64) (segment uint64, pos int64) {
	return uint64(offset) >> 32, offset & (1<<32 - 1)
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// groupOf returns where the group of the valid frame at b[0:] began.
func groupOf(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b[12:])) }
