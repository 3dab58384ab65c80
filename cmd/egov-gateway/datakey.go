package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"egov-gateway/gateway/sealing"
)

// credentialPrefix begins a setting that names one of systemd's credentials instead of a file.
const credentialPrefix = "credential:"

// dataKeys are the key that new data are sealed under and those before it.
func (c *Config) dataKeys() (all []sealing.InstallationKey, err error) {
	for _, setting := range []struct{ name, value string }{{"data_key", c.DataKey}, {"data_key_old", c.DataKeyOld}} {
		if setting.value == "" {
			continue
		}
		k, err := c.dataKey(setting.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting.name, err)
		}
		all = append(all, k)
	}
	return all, nil
}

func (c *Config) dataKey(value string) (sealing.InstallationKey, error) {
	name, ok := strings.CutPrefix(value, credentialPrefix)
	if !ok {
		return readDataKey(c.path(value))
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || name == "" || name != filepath.Base(name) {
		return sealing.InstallationKey{}, fmt.Errorf(
			"there is no credential %q: the unit needs LoadCredential= or LoadCredentialEncrypted= of that name, and $CREDENTIALS_DIRECTORY is %q", name, dir)
	}
	return readDataKey(filepath.Join(dir, name))
}

func readDataKey(file string) (sealing.InstallationKey, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return sealing.InstallationKey{}, err
	}
	k, err := sealing.ParseInstallationKey(content)
	if err != nil {
		return k, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// keyring is nil when nothing is to be sealed.
func (c *Config) keyring() (*sealing.Keyring, error) {
	all, err := c.dataKeys()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return sealing.NewKeyring(all[0], all[1:]...)
}

func (c *Config) checkDataKeys() error {
	switch {
	case c.DataKeyOld != "" && c.DataKey == "":
		return errors.New("data_key_old: it is the key before data_key, which is missing")
	case c.DataKeyOld != "" && c.DataKeyOld == c.DataKey:
		return errors.New("data_key_old: it is the same as data_key")
	}
	return nil
}

// inClear tells what a data key leaves unencrypted; "" when nothing. That there is none is a danger.
func (c *Config) inClear() string {
	if c.DataKey != "" && len(c.Journal.Redis) > 0 {
		return "data_key seals the attached copies only: what Redis, its archive and the accept journal keep lies there in clear"
	}
	return ""
}

// heldKey is what the file of a data key holds in the place of its name; a credential stays what it is called.
func (c *Config) heldKey(value string) string {
	if sum := c.seen.of(value); sum != "" {
		return sum
	}
	return value
}
