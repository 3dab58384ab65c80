package attachment

// About has s ask before each change on the disk of a rekeying.
func (s *Store) About(ask func(change string) error) { s.about = ask }
