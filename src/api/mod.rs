//! Plain HTTP in and out.
