//! What a change costs, in looks at entries.
