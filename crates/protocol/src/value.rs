//! One untyped value of a message, whichever encoding it came in. Services read it leniently; nothing else keeps it.

use bytes::Bytes;

/// What MessagePack and JSON have in common, plus MessagePack's byte strings.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `nil`, `null`; an extension type papo does not know reads as this.
    Null,
    /// A truth value.
    Bool(bool),
    /// Any integer that fits 64 bits; `u64` above `i64::MAX` too.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// A byte string (MessagePack `bin`, or a `str` that is not UTF-8); base64url text in JSON.
    Bytes(Bytes),
    /// A list.
    List(Vec<Value>),
    /// A map in the order it came. Keys that are byte strings are read as UTF-8.
    Map(Vec<(String, Value)>),
}
