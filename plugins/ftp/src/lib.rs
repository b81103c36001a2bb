//! FTP server plugin.
