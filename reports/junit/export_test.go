package junit

// MaxText is for the tests.
const MaxText = maxText
