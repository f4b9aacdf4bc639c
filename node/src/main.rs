//! papo
fn main(){}
