"""The operating system: clock, files, threads, control socket."""
