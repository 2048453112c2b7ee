//! What holds for the whole repository, held by tests. There is nothing here but `tests/tidy`: it reads the repository as
//! files and builds nothing of it.
