package gost

// HasTable reports whether k verifies with a table.
func HasTable(k *PublicKey) bool { return k.table.Load() != nil }
