"""Rules that a schema cannot express: those of reconciler/declarations/rules/.

Written for people who run the mail of a contact centre. The vendor's pages are those of the public
user guide of Huawei Cloud AICC; where the vendor is silent, no page is named.
"""

from typing import Final

from reconciler.declarations.catalogue import Rule
from reconciler.model import Severity

_E: Final = Severity.ERROR
_W: Final = Severity.WARNING

_GATEWAYS: Final = "Configuring Email Gateways (cec_04_0103)"
_M365: Final = "Configuring M365 Email Gateways (cec_04_0379)"
_CERTIFICATES: Final = "Managing Certificates (cec_04_0129)"
_CHANNEL: Final = "Configuring the Email Channel (cec_04_0060)"
_SIGNATURES: Final = "email signatures (cec_04_0134)"

_CONNECTION: Final = (
    Rule(
        "host-not-allowed",
        _E,
        "The host is not among those that the target allows",
        "A target's allow_hosts is the fence around its passwords: whoever changes a host in a"
        " pull request would otherwise have the password sent there.",
        "Correct the host. If the mail server is a new one of yours, add it to allow_hosts in"
        " gateways.yaml, in a change of its own.",
    ),
    Rule(
        "name-not-allowed",
        _E,
        "The name is not among those that the target allows",
        "A target's allow_names says which gateways are this repository's to declare there, so that"
        " two teams never take over each other's.",
        "Correct the name. If it is a new kind of gateway of yours, add a pattern to allow_names in"
        " gateways.yaml, in a change of its own.",
    ),
    Rule(
        "private-host",
        _W,
        "The host cannot be reached from a cloud",
        "Loopback, private and link-local addresses, and names such as mail.local, mean something"
        " in one network only. A platform in a cloud does not reach them.",
        "Give the mail server's public name. If the platform stands in the same network, the"
        " warning can be ignored.",
        ids=("C28",),
    ),
    Rule(
        "ip-host-with-tls",
        _W,
        "The host is an IP address, and the connection is encrypted",
        "The certificate of a mail server is issued for its name. With an address as host the name"
        " check fails unless the certificate lists that very address, which few do.",
        "Give the host name that the certificate was issued for.",
        ids=("C27",),
    ),
    Rule(
        "plaintext-connection",
        _W,
        "The connection is not encrypted",
        "With encryption_mode NONE every mail crosses the network readable, and can be changed on"
        " the way. The vendor calls it a risk of leaks and recommends TLS.",
        "Write encryption_mode: TLS, the port that goes with it (SMTP 465, IMAP 993, POP3 995) and"
        " a certificate_file.",
        ids=("C13",),
        source=_GATEWAYS,
    ),
    Rule(
        "plaintext-password",
        _W,
        "The password crosses the network readable",
        "Logging in without encryption shows the mailbox's password to everybody on the way."
        " Many servers refuse such a login.",
        "Write encryption_mode: TLS. Change the password if it was ever used this way.",
        ids=("C16",),
    ),
    Rule(
        "starttls-connection",
        _W,
        "The connection begins in the clear",
        "STARTTLS asks for encryption after an unencrypted greeting, which an attacker on the way"
        " can suppress. Here that makes the connection fail before anything secret is sent; the"
        " vendor calls STARTTLS insecure nevertheless, and its own console may go on without.",
        "Write encryption_mode: TLS with the port that goes with it, if the server offers it.",
        ids=("C14",),
        source=_GATEWAYS,
    ),
    Rule(
        "port-encryption-clash",
        _W,
        "Port and encryption do not go together",
        "Ports 465, 993 and 995 expect TLS from the first byte; 25, 587, 110 and 143 greet in the"
        " clear. The wrong pair ends in a timeout or in the error 'wrong version number'.",
        "Leave port out, and the usual one for the encryption is taken; or write the other"
        " encryption_mode.",
        ids=("C17",),
        source=_GATEWAYS,
    ),
    Rule(
        "port-of-other-protocol",
        _W,
        "Another protocol listens on that port",
        "A gateway that speaks IMAP to a POP3 port, or the like, never gets past the greeting.",
        "Leave port out, and the usual one for the protocol is taken; or correct protocol_type.",
        ids=("C18",),
    ),
    Rule(
        "port-and-encryption-of-other-protocol",
        _E,
        "Port and encryption are those of another protocol",
        "Here not only the port but the encryption too is exactly what another protocol uses, so"
        " that protocol_type or port is wrong beyond doubt.",
        "Leave port out, and the usual one for the protocol is taken; or correct protocol_type.",
        ids=("C18",),
    ),
)

_LOGIN: Final = (
    Rule(
        "no-authentication",
        _W,
        "The gateway sends without logging in",
        "A mail server that sends for anybody who does not log in is open to abuse. The vendor"
        " calls authentication_flag false a security risk.",
        "Write authentication_flag: true with user_id and user_password. Only a relay that knows"
        " the platform by its address needs no login.",
        ids=("C15",),
        source=_GATEWAYS,
    ),
    Rule(
        "no-authentication-receiving",
        _W,
        "The gateway fetches mail without logging in",
        "IMAP and POP3 open a mailbox for whoever logs in. Only a server that has authenticated"
        " the connection by other means accepts less.",
        "Write authentication_flag: true with user_id and user_password.",
        ids=("C40",),
        source=_GATEWAYS,
    ),
    Rule(
        "unused-credentials",
        _W,
        "Credentials are given and not used",
        "With authentication_flag false no login takes place, although user_id or user_password"
        " suggest one.",
        "Write authentication_flag: true, or take user_id and user_password away.",
        ids=("C20",),
        source=_GATEWAYS,
    ),
    Rule(
        "password-login-refused-by-provider",
        _W,
        "The provider no longer accepts an account's password",
        "Microsoft and Google have switched off logins with the account's password, or are about"
        " to. Such a gateway fails with 'authentication failed' although the password is right.",
        "Microsoft: use the console's M365 gateways. Google: turn on 2-step verification and store"
        " an app password. Or use a mail server that takes passwords.",
        ids=("C29",),
        source=_M365,
    ),
    Rule(
        "missing-secret",
        _E,
        "The secret does not exist",
        "A declaration names its password, and the name must stand in exactly one of the target's"
        " secrets files.",
        "Correct the name, or add the secret with sops.",
        ids=("C03",),
    ),
    Rule(
        "unused-secret",
        _W,
        "No gateway uses the secret",
        "A password that nothing needs can still leak, and hides a misspelt name.",
        "Take it away with sops, once nothing else reads it.",
    ),
    Rule(
        "non-ascii-credentials",
        _W,
        "User or password has characters outside ASCII",
        "How such characters are sent is left open by the older login methods, so that a right"
        " password is refused by one server and accepted by another. The password itself is"
        " judged by plan and apply.",
        "Have a login name and a password in plain ASCII set for this mailbox.",
        ids=("C04",),
    ),
    Rule(
        "password-length",
        _E,
        "The password is empty or longer than 64 characters",
        "The console takes 1 to 64 characters. Longer tokens, such as those of some mail services,"
        " do not fit. Judged by plan and apply.",
        "Have a password of 1 to 64 characters set for this mailbox, and store it with sops.",
        ids=("C02",),
        source=_GATEWAYS,
    ),
    Rule(
        "masked-password",
        _E,
        "The password is a mask",
        "A row of dots or stars, or the word 'redacted', is what a page shows in place of a"
        " password. Copied from there, it would overwrite the real one. Judged by plan and apply.",
        "Store the password itself with sops.",
        ids=("C02",),
    ),
    Rule(
        "placeholder-password",
        _W,
        "The password only keeps the place of one",
        "Words such as change-me, which gateways init writes, password or example are hardly"
        " any mailbox's password, and where they are, they are the first that is guessed. Judged"
        " by plan and apply.",
        "Store the mailbox's own password with sops edit.",
    ),
    Rule(
        "password-control-character",
        _E,
        "The password has a control character in it",
        "SMTP, POP3 and IMAP are line by line: a line break inside a password ends the line, and"
        " what follows would be taken for a command. Judged by plan and apply.",
        "Store the password again. In YAML, a block (|) keeps every line break.",
    ),
    Rule(
        "password-whitespace",
        _W,
        "The password begins or ends with white space",
        "It mostly comes from copying, or from a YAML block (|), which adds a line break; the login"
        " then fails although the password looks right. Judged by plan and apply.",
        "Store the password again without it, unless it belongs to the password.",
        ids=("C05",),
    ),
    Rule(
        "reused-password",
        _W,
        "Two mailboxes have the same password",
        "Whoever learns one has both, and changing one is easily taken for changing both. The two"
        " gateways of one mailbox may share theirs. Judged by plan and apply.",
        "Give every mailbox a password of its own.",
        ids=("C37",),
    ),
)

_CERTIFICATE: Final = (
    Rule(
        "certificate-missing",
        _E,
        "The certificate file does not exist",
        "An encrypted gateway trusts the certificates of its file and no others, so that without"
        " the file no connection can be made.",
        "Correct the path, which is relative to the declaring file, or commit the file.",
        ids=("C06",),
        source=_GATEWAYS,
    ),
    Rule(
        "certificate-outside-project",
        _E,
        "The certificate file is not inside the project",
        "A path may not begin with / or hold '..', and no symbolic link may lead out: a pull"
        " request could otherwise have any file of the machine read.",
        "Copy the certificate into the project and give its path relative to the declaring file.",
        ids=("C06",),
    ),
    Rule(
        "certificate-unreadable",
        _E,
        "The certificate file holds no certificate that can be read",
        "The file must be a regular one of at most 64 KiB with one or more X.509 certificates, as"
        " PEM or DER. Stores such as .jks, .p12 and .p7b need converting.",
        "Export the certificate again as Base64 (PEM), or convert it with openssl.",
        ids=("C06",),
        source=_CERTIFICATES,
    ),
    Rule(
        "certificate-private-key",
        _E,
        "The certificate file holds a private key",
        "Whoever has the key can pose as the mail server. Everybody who can read the repository has"
        " it now, and git remembers it after the file is gone.",
        "Take the file away, have the key and its certificate replaced, and commit the certificate"
        " alone.",
        ids=("C06",),
    ),
    Rule(
        "certificate-expired",
        _E,
        "The certificate has expired",
        "A connection under an expired certificate fails.",
        "Get the current root certificate of the mail server's operator.",
        ids=("C07",),
        source=_CERTIFICATES,
    ),
    Rule(
        "certificate-not-yet-valid",
        _E,
        "The certificate is not valid yet",
        "A connection under a certificate whose time has not come fails.",
        "Keep today's root certificate in the file beside its successor, or check this machine's"
        " clock.",
        ids=("C07",),
    ),
    Rule(
        "expired-certificate-in-bundle",
        _W,
        "One certificate of the file has expired",
        "The others still work, so that connections go on for the servers that they issued.",
        "Take what has expired out of the file.",
        ids=("C07",),
    ),
    Rule(
        "certificate-expires-soon",
        _W,
        "The certificate expires within 30 days",
        "On that day the gateway stops, whatever the mail server does.",
        "Add the successor to the file now. Both may stand in it until the change is over.",
        ids=("C08",),
    ),
    Rule(
        "leaf-certificate",
        _W,
        "The certificate is a server's own, not that of its issuer",
        "The usual openssl s_client recipe saves the server's own certificate. It fits until the"
        " server renews it, often within 90 days, and many TLS libraries do not accept it as an"
        " anchor at all. The vendor recommends the root certificate.",
        "Use the root certificate that issued it. Of those that openssl s_client -showcerts"
        " prints, the last is nearest to it.",
        ids=("C09",),
        source=_CERTIFICATES,
    ),
    Rule(
        "leaf-name-mismatch",
        _E,
        "The certificate is another server's",
        "The file holds a server's own certificate, and none of its names is this host. Exact names"
        " fit, a wildcard for the first label, and for an IP address that address.",
        "Use the root certificate of this host's server, or correct the host.",
        ids=("C10",),
    ),
    Rule(
        "weak-certificate",
        _W,
        "The certificate is too weak for current TLS libraries",
        "RSA keys below 2048 bits, DSA keys, and signatures made with SHA-1 or MD5 can be forged,"
        " and OpenSSL refuses them. A root's own signature does not count.",
        "Have the mail server's operator issue a stronger certificate.",
        ids=("C11",),
    ),
    Rule(
        "certificate-extension",
        _W,
        "The file's extension does not fit its content",
        "The console derives the certificate's type from the extension, and .pem promises text.",
        "Rename the file to .cer, or convert it to PEM with openssl x509 -inform der.",
        ids=("C12",),
        source=_CHANNEL,
    ),
    Rule(
        "unused-certificate",
        _W,
        "A certificate is given and not used",
        "With encryption_mode NONE no certificate is looked at, although the declaration suggests"
        " it.",
        "Write encryption_mode: TLS, or take certificate_file away.",
        ids=("C19",),
        source=_GATEWAYS,
    ),
    Rule(
        "unreferenced-certificate",
        _W,
        "No gateway uses the certificate file",
        "It mostly remains of a gateway that is gone, or hides a wrong path.",
        "Take it away, or name it in certificate_file.",
        ids=("C33",),
    ),
    Rule(
        "duplicate-certificate",
        _W,
        "Two files hold the same certificate",
        "When it is renewed, one of the two is easily forgotten.",
        "Keep one of the two and name it in both declarations.",
        ids=("C33",),
    ),
)

_MESSAGES: Final = (
    Rule(
        "field-without-effect",
        _W,
        "The field has no effect on this protocol",
        "default_email_address and default_user_name are for sending; case_sensitivity and"
        " receive_from are for receiving. Fields that a file's defaults give are not meant here.",
        "Take the field away, or move it to the gateway of the other direction.",
        ids=("C21",),
        source=_GATEWAYS,
    ),
    Rule(
        "case-sensitive-senders",
        _W,
        "Senders that differ only in case count as different",
        "Hardly any mail server tells Ann@example.com from ann@example.com. With case_sensitivity"
        " true one customer may appear as several, and block lists miss a spelling.",
        "Write case_sensitivity: false, or leave it out.",
        ids=("C22",),
        source=_GATEWAYS,
    ),
    Rule(
        "unencodable-sender-name",
        _E,
        "The sender's name cannot be written in the encoding",
        "default_user_name stands before the address in every mail that an agent sends, and"
        " encoding_mode has no code for one of its characters.",
        "Write encoding_mode: UTF-8, or leave it out.",
        ids=("C23",),
        source=_GATEWAYS,
    ),
    Rule(
        "non-utf8-encoding",
        _W,
        "The encoding is not UTF-8",
        "Every other encoding lacks characters that customers or agents will use one day, and"
        " programs disagree about what some of the names mean.",
        "Write encoding_mode: UTF-8, or leave it out, unless a recipient is known to need this.",
        ids=("C24",),
        source=_GATEWAYS,
    ),
    Rule(
        "sender-differs-from-login",
        _W,
        "The sender is not the mailbox that logs in",
        "Many servers refuse a sender that the login does not own. That shows only when the first"
        " mail is sent: connecting succeeds.",
        "Use the login's own address, or have the server's operator allow this sender.",
        ids=("C30",),
    ),
)

_TOGETHER: Final = (
    Rule(
        "duplicate-gateway",
        _E,
        "Two gateways have the same name",
        "The name is what a gateway is known by, on the console and in a plan.",
        "Give one of them another name, or take it away.",
        ids=("C01",),
        source=_SIGNATURES,
    ),
    Rule(
        "gateway-names-differ-in-case",
        _E,
        "Two gateways' names differ only in case",
        "People read such names as the same one, and so may a platform.",
        "Give one of them another name.",
        ids=("C01",),
    ),
    Rule(
        "duplicate-pop3-mailbox",
        _E,
        "Two POP3 gateways fetch the same mailbox",
        "POP3 locks a mailbox for one session, so the two shut each other out; and what both get"
        " comes in twice.",
        "Keep one of the two.",
        ids=("C25",),
    ),
    Rule(
        "duplicate-mailbox",
        _W,
        "Two gateways fetch the same mailbox",
        "Every mail comes in twice, and agents answer it twice.",
        "Keep one of the two. For staging, use a mailbox of its own.",
        ids=("C25",),
    ),
    Rule(
        "duplicate-sender",
        _W,
        "Two SMTP gateways send from the same account and address",
        "It is mostly a copy that was never changed; a rotated password then has to be thought of"
        " twice.",
        "Keep one of the two.",
        ids=("C26",),
    ),
    Rule(
        "long-name",
        _W,
        "Some consoles refuse the gateway's name",
        "The console of 2025 takes at most 10 letters and digits in the form for M365 gateways."
        " Whether its other forms take more is not documented. Judged for runbook targets.",
        "Use at most 10 letters and digits.",
        ids=("C39",),
        source=_M365,
    ),
)

RULES: Final[tuple[Rule, ...]] = (*_CONNECTION, *_LOGIN, *_CERTIFICATE, *_MESSAGES, *_TOGETHER)
