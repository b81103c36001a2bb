//! FTP server engine without I/O.
