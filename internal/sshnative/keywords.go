package sshnative

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// A role says what the transport makes of a keyword of ssh -G.
type role int

// The roles. Values that a keyword's row doesn't allow leave the host to the ssh program, whatever
// the role is.
const (
	used     role = iota // goes by it as ssh does
	harmless             // changes neither the host, the account, the way nor the checks
	refused              // the ssh program has to do it, unless the value says that it is off
)

// A keyword is one row of the table.
type keyword struct {
	role role
	why  string // how it is used, why it is harmless, or what the ssh program does
	// allow tells whether a value can be taken here. Nil: every value can, and none if refused.
	allow func(c *config, value string) bool
}

// takes tells whether the transport can go on with a value.
func (k keyword) takes(c *config, value string) bool {
	if k.allow == nil {
		return k.role != refused
	}
	return k.allow(c, strings.ToLower(value))
}

// oneOf allows some values, in lower case.
func oneOf(values ...string) func(*config, string) bool {
	return func(_ *config, value string) bool { return slices.Contains(values, value) }
}

var (
	off    = oneOf("no", "false")
	none   = oneOf("", "none")
	onOff  = oneOf("yes", "true", "no", "false")
	noTerm = "is about terminals, and there is none"
	noForw = "is about port forwardings, X11 or tunnels, and there are none"
	noCanc = "is read only where CanonicalizeHostname is on"
	noGSS  = "is read only where GSSAPI is used, which is left to ssh"
	noKeep = "is about noticing dead links, and mitogen has its own heartbeat"
	onlyUI = "changes only what is logged or shown"
)

// keywords has a row for every keyword that ssh -G prints, of OpenSSH 8.0 to 10.2 with the patches
// of Debian and Red Hat. A keyword without a row leaves the host to the ssh program.
var keywords = map[string]keyword{
	// Who is reached, as whom, by what way.
	"host":                        {used, "for the token %n", nil},
	"hostname":                    {used, "the address", nil},
	"user":                        {used, "the account", nil},
	"port":                        {used, "the port", nil},
	"addressfamily":               {used, "chooses the network", oneOf("any", "inet", "inet6")},
	"bindaddress":                 {refused, "binds the socket", none},
	"bindinterface":               {refused, "binds the socket", none},
	"proxyjump":                   {used, "each jump by its own ssh -G", nil},
	"proxycommand":                {refused, "starts the program", none},
	"proxyusefdpass":              {harmless, "is read only with a ProxyCommand", nil},
	"canonicalizehostname":        {refused, "looks names up", off},
	"canonicaldomains":            {harmless, noCanc, nil},
	"canonicalizefallbacklocal":   {harmless, noCanc, nil},
	"canonicalizemaxdots":         {harmless, noCanc, nil},
	"canonicalizepermittedcnames": {harmless, noCanc, nil},
	"connecttimeout":              {used, "limits connecting", nil},
	"connectionattempts":          {refused, "tries again", oneOf("1")},
	"controlmaster":               {harmless, "nothing is left behind as a master", nil},
	"controlpath":                 {used, "a master that is there is left to ssh", noMaster},
	"controlpersist":              {harmless, "nothing is left behind as a master", nil},
	"refuseconnection":            {refused, "says the message", nil},
	"protocol":                    {refused, "speaks version 1", oneOf("2")},
	"tag":                         {harmless, "is for Match, which ssh -G has evaluated", nil},
	"ignoreunknown":               {harmless, "is about reading the file", nil},
	"ipqos":                       {harmless, "marks packets", nil},
	"versionaddendum":             {refused, "is told to the server", none},
	"rekeylimit":                  {refused, "renews keys", oneOf("0 0", "default none")},
	"compression":                 {harmless, "compresses only", nil},
	"tcpkeepalive":                {harmless, noKeep, nil},
	"serveralivecountmax":         {harmless, noKeep, nil},
	"serveraliveinterval":         {harmless, noKeep, nil},
	"channeltimeout":              {refused, "closes channels", none},
	"obscurekeystroketiming":      {harmless, noTerm, nil},
	"hostkeyalgorithms":           {used, "its list", nil},
	"kexalgorithms":               {used, "its list", nil},
	"ciphers":                     {used, "its list", nil},
	"macs":                        {used, "its list", nil},
	"casignaturealgorithms":       {used, "its list", nil},
	"requiredrsasize":             {used, "for keys of hosts and users", nil},
	"rsaminsize":                  {used, "for keys of hosts and users", nil},
	"warnweakcrypto":              {harmless, onlyUI, nil},
	"stricthostkeychecking": {used, "what a new key is worth",
		oneOf("yes", "true", "no", "false", "off", "ask", "accept-new")},
	"userknownhostsfile":   {used, "the known hosts", nil},
	"globalknownhostsfile": {used, "the known hosts", nil},
	"hostkeyalias":         {used, "the name in the known hosts", nil},
	"hashknownhosts":       {used, "for keys that are added", nil},
	"checkhostip": {used, "where it checks nothing more than the name",
		checksNoIP},
	"nohostauthenticationforlocalhost": {refused, "checks nothing there", off},
	"knownhostscommand":                {refused, "starts the program", none},
	"revokedhostkeys":                  {refused, "reads the list", none},
	"verifyhostkeydns":                 {refused, "looks the key up", off},
	"updatehostkeys": {harmless,
		"nothing is learnt from the host, so no key is added to the known hosts or removed", nil},
	"fingerprinthash":                 {harmless, onlyUI, nil},
	"visualhostkey":                   {harmless, onlyUI, nil},
	"preferredauthentications":        {used, "the order of methods", nil},
	"batchmode":                       {used, "no passwords", onOff},
	"numberofpasswordprompts":         {used, "0 means no passwords", nil},
	"passwordauthentication":          {used, "as a switch", onOff},
	"kbdinteractiveauthentication":    {used, "as a switch", onOff},
	"challengeresponseauthentication": {used, "the older name of kbdinteractiveauthentication", onOff},
	"kbdinteractivedevices":           {refused, "is told to the server", none},
	"pubkeyauthentication": {used, "as a switch",
		oneOf("yes", "true", "no", "false", "unbound")},
	"pubkeyacceptedalgorithms":    {used, "its list", nil},
	"pubkeyacceptedkeytypes":      {used, "the older name of pubkeyacceptedalgorithms", nil},
	"hostbasedauthentication":     {refused, "logs in by the host's key", off},
	"hostbasedacceptedalgorithms": {harmless, "hostbasedauthentication is refused", nil},
	"hostbasedkeytypes":           {harmless, "hostbasedauthentication is refused", nil},
	"enablesshkeysign":            {harmless, "hostbasedauthentication is refused", nil},
	"gssapiauthentication":        {used, "left to ssh where both sides could", onOff},
	"gssapikeyexchange":           {refused, "exchanges keys by Kerberos", off},
	"gssapidelegatecredentials":   {refused, "passes tickets on", off},
	"gssapitrustdns":              {harmless, noGSS, nil},
	"gssapirenewalforcesrekey":    {harmless, noGSS, nil},
	"gssapikexalgorithms":         {harmless, noGSS, nil},
	"gssapiclientidentity":        {harmless, noGSS, nil},
	"gssapiserveridentity":        {harmless, noGSS, nil},
	"identityfile":                {used, "the keys", nil},
	"identitiesonly":              {used, "as a switch", onOff},
	"identityagent":               {used, "the agent", nil},
	"certificatefile":             {used, "the certificates", nil},
	"addkeystoagent":              {harmless, "no key is added to the agent", nil},
	"securitykeyprovider":         {harmless, "files of security keys are left to ssh", nil},
	"pkcs11provider":              {refused, "loads the library", none},
	"smartcarddevice":             {refused, "loads the library", none},

	// What is asked for there.
	"sendenv":                 {used, "as requests", nil},
	"setenv":                  {used, "as requests", nil},
	"forwardagent":            {refused, "forwards the agent", off},
	"forwardx11":              {refused, "forwards X11", off},
	"forwardx11timeout":       {harmless, noForw, nil},
	"forwardx11trusted":       {harmless, noForw, nil},
	"xauthlocation":           {harmless, noForw, nil},
	"localforward":            {refused, "listens", nil},
	"remoteforward":           {refused, "has the server listen", nil},
	"dynamicforward":          {refused, "listens", nil},
	"clearallforwardings":     {harmless, noForw, nil},
	"exitonforwardfailure":    {harmless, noForw, nil},
	"gatewayports":            {harmless, noForw, nil},
	"permitremoteopen":        {harmless, noForw, nil},
	"streamlocalbindmask":     {harmless, noForw, nil},
	"streamlocalbindunlink":   {harmless, noForw, nil},
	"tunnel":                  {refused, "makes a device", off},
	"tunneldevice":            {harmless, noForw, nil},
	"permitlocalcommand":      {refused, "starts the local command", off},
	"localcommand":            {harmless, "permitlocalcommand is refused", nil},
	"remotecommand":           {refused, "says that there are two commands", none},
	"sessiontype":             {refused, "starts no command", oneOf("default")},
	"requesttty":              {refused, "asks for a terminal", oneOf("no", "false", "auto")},
	"stdinnull":               {refused, "reads nothing", off},
	"forkafterauthentication": {refused, "goes to the background", off},
	"escapechar":              {harmless, noTerm, nil},
	"enableescapecommandline": {harmless, noTerm, nil},
	"loglevel":                {harmless, onlyUI, nil},
	"logverbose":              {harmless, onlyUI, nil},
	"syslogfacility":          {harmless, onlyUI, nil},
}

// supported returns ErrUnsupported, and the keyword that it is for.
func (c *config) supported() error {
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		k, known := keywords[key]
		if !known {
			return unsupported("unknown keyword %s", key)
		}
		for _, value := range c.values[key] {
			if !k.takes(c, value) {
				return unsupported("%s %s", key, value)
			}
		}
	}
	for _, key := range needed {
		if c.get(key) == "" {
			return unsupported("ssh -G says nothing of %s", key)
		}
	}
	return nil
}

// needed are keywords without which nothing can be checked.
var needed = []string{"hostname", "user", "port", "hostkeyalgorithms", "kexalgorithms", "ciphers",
	"macs",
	"casignaturealgorithms", "stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile"}

// unsupported makes an ErrUnsupported that says what for.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

// noMaster tells whether no socket of a ControlMaster is there. OpenSSH before 8.7 prints the path
// with its tokens.
func noMaster(c *config, _ string) bool {
	path := c.get("controlpath")
	if strings.EqualFold(path, "none") {
		return true
	}
	if strings.ContainsAny(path, "%$") || strings.HasPrefix(path, "~") {
		return false
	}
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// checksNoIP tells whether CheckHostIP would look for nothing but the host's name.
func checksNoIP(c *config, value string) bool {
	if value == "no" || value == "false" || c.get("hostkeyalias") != "" {
		return true
	}
	_, err := netip.ParseAddr(c.get("hostname"))
	return err == nil
}
