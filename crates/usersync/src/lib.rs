//! Keeps users, group memberships, account links, contacts and licence seats in step between directories and applications.
