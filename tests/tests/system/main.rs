//! System tests: the program as its users run it, a process with files and a port, talked to over HTTP and by its own
//! commands. Nothing of ours is linked in, so that nothing but what is promised to users can be relied upon.

mod bad_input;
mod cli;
mod crash;
mod database;
mod deploy;
mod files;
mod http;
mod orders;
mod program;
mod python;
