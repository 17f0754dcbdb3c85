package journal

import "encoding/binary"

// AppendRecords appends records to b, each after its length: what routers hand one another.
func AppendRecords(b []byte, records []Record) []byte {
	var one []byte
	for i := range records {
		one = records[i].Append(one[:0])
		b = binary.AppendUvarint(b, uint64(len(one)))
		b = append(b, one...)
	}
	return b
}

// DecodeRecords reads AppendRecords' form. The payloads alias b.
func DecodeRecords(b []byte) (records []Record, err error) {
	for len(b) > 0 {
		size, rest, ok := takeUvarint(b)
		if !ok || size > uint64(len(rest)) {
			return nil, ErrGarbage
		}
		rec, err := DecodeRecord(rest[:size:size])
		if err != nil {
			return nil, err
		}
		records, b = append(records, rec), rest[size:]
	}
	return records, nil
}
