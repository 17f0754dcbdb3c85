// Package cesql is the CloudEvents SQL expression language, version 1.0: predicates over context attributes, never over data.
//
// An evaluation gives a value and at most one error, the first: it goes no further than that, and the value is then what the type of the outermost
// operator has for nothing (false, 0, the empty text). As a filter, an event passes only when the value is true and there is no error.
//
// What is written is bounded in length and depth, what an evaluation makes in bytes, so that an evaluation ends after bounded work whatever the event
// says. It depends on nothing but the expression and the attributes.
//
// Where implementations of the language read a text differently - AND beside OR without parentheses, NOT before a comparison - it is read by the tables
// of the specification, and Doubts tells of it.
package cesql
