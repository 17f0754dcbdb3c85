// Package envelope reads and writes CloudEvents 1.0: the only place where foreign bytes become events, for every door - web hooks, Kafka records,
// functions' answers, completions.
//
// The rules, wherever an event comes in:
//
//   - Media types and header names have no case. Structured and batched mode are chosen by the content type; binary mode by a specversion.
//   - An attribute is a text of at most MaxAttribute bytes: UTF-8, no control characters, no half surrogates. It is kept as it was sent, URIs
//     included; only a time becomes the UTC form of its instant. One that comes twice, or that the specification wants and that is missing or
//     empty, refuses the event.
//   - An extension is its canonical text, in every mode: 42 and "42" are the same, and event.n == "42". (Binary mode cannot tell them apart.)
//   - Data is what its declared type says, never what its bytes look like: JSON (checked), a text (decoded by its charset: UTF-8, US-ASCII,
//     ISO-8859-1, UTF-16), or bytes, which expressions see in base64. In binary mode no declared type is bytes; in structured mode data is JSON and
//     data_base64 is bytes. The declared type stays beside the data, as datacontenttype.
//   - A body may be compressed with gzip. What it becomes is bounded while it is being read.
//
// The SDK's event.Event is the type of what was read. Its decoder is not used: it guesses, rewrites URIs, and panics on some bytes.
package envelope
