//! LDAP directories for usersync: reads LDIF exports (RFC 2849).
