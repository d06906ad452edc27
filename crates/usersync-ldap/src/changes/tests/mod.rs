//! Tests of the codecs, of the machines without I/O, and of everything on a scripted server.

mod codecs;
mod phases;
mod replica;
