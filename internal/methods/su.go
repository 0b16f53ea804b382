package methods

import (
	"fmt"

	"github.com/mitogen-go/mitogen/connect"
)

// su becomes another user, with that one's password. It asks for it on its standard input, so that
// where there is one to type, that has to be a terminal, and the boot waits for EC0. root needs
// none.
var suMethod = method{
	near:     true,
	parse:    parseUser("su"),
	format:   formatUser,
	plan:     planSu,
	symptoms: suSymptoms,
	session:  sessionSymptoms,
	hints:    suHints,
	wrong:    connect.ErrAuth,
}

func planSu(h Hop, boot []string, opt connect.Options, _ bool) (Plan, error) {
	o := opt.Su
	// before the user: BSD's su hands what follows to the shell
	args := append([]string{or(o.Path, "su")}, o.Args...)
	if o.Login {
		args = append(args, "-")
	}
	args = append(args, or(h.User, "root"))
	p := Plan{Argv: append(args, "-c", QuoteCommand(boot)), Env: []string{"LANGUAGE=C"}}
	if o.Password != "" || opt.Interactive || opt.Sourced {
		p.TTY, p.Wait = true, true
		for _, needle := range passwordNeedles {
			p.Prompts = append(p.Prompts, Prompt{[]byte(needle), o.Password.Bytes()})
		}
	}
	return p, nil
}

// passwordNeedles end the question for a password: PAM's, in the translations that it has where
// LANGUAGE can't keep it from using one, and those of other systems. ASCII matches whatever its
// case.
var passwordNeedles = []string{
	"password:", "password for ", "Adgangskode:", "Contrasenya:", "Contraseña:", "Contrasigno:",
	"Focal faire:", "Hasło:", "Heslo:",
	"Iphasiwedi:", "Jelszó:", "Lozinka:", "Lösenord:", "Mot de passe :", "Mật khẩu :",
	"Palavra-passe:", "Parola:", "Parolă:",
	"Parool:", "Pasahitza:", "Passord:", "Passwort:", "Pasvorto:", "Salasana:", "Sandi:", "Senha:",
	"Wachtwoord:", "Şifrə:",
	"Лозинка:", "Парола:", "Пароль:", "ססמה:", "كلمة السر:", "गुप्तशब्द:", "शब्दकूट:", "গুপ্তশব্দ:",
	"পাসওয়ার্ড:", "ਪਾਸਵਰਡ:",
	"પાસવર્ડ:", "ପ୍ରବେଶ ସଙ୍କେତ:", "கடவுச்சொல்:", "సంకేతపదము:", "ಗುಪ್ತಪದ:", "അടയാളവാക്ക്:", "රහස්පදය:",
	"პაროლი:",
	"ពាក្យសម្ងាត់\u00a0៖", "パスワード:", "密码：", "密碼：", "암호:",
}

var suSymptoms = []symptom{
	{text: "account has expired", kind: connect.ErrAuth, hint: expiredHint},
	{text: "required to change your password", kind: connect.ErrAuth, hint: passwordHint},
	{text: "too many logins for", kind: connect.ErrNotPermitted, hint: fullHint},
	{text: "does not exist", kind: connect.ErrUnknownUser},
	{text: "unknown id", kind: connect.ErrUnknownUser},
	{text: "unknown login", kind: connect.ErrUnknownUser},
	{text: "unknown user", kind: connect.ErrUnknownUser},
	{text: "no passwd entry", kind: connect.ErrUnknownUser},
	{text: "must be run from a terminal", kind: connect.ErrTTYRequired},
	{text: "cannot set groups", kind: connect.ErrSetup},
	{text: "must be suid", kind: connect.ErrSetup},
	{text: "authentication failure", kind: connect.ErrAuth},
	{text: "authentication error", kind: connect.ErrAuth},
	{text: "incorrect password", kind: connect.ErrAuth},
	{text: "not in the correct group", kind: connect.ErrAuth},
	{text: "permission denied", kind: connect.ErrAuth},
	{text: "sorry", kind: connect.ErrAuth},
	{text: "currently not available", kind: connect.ErrNotPermitted},
}

func parseUser(name string) func(args string, given bool) (Hop, error) {
	return func(args string, given bool) (Hop, error) {
		if given {
			if err := checkUser("user", args); err != nil {
				return Hop{}, fmt.Errorf("%s: %w", name, err)
			}
		}
		return Hop{Method: name, User: args}, nil
	}
}

func formatUser(h Hop) string {
	if h.User == "" {
		return h.Method
	}
	return h.Method + ":" + h.User
}
