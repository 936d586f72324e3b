# The texts of the pages in English. Every key is in de.ftl too, with the same variables and tags; a test compares them.
# Allowed tags: a, b, code, em, strong. What is put in is escaped.

## Frame
skip = Skip to content
nav-site = Site
nav-home = Home
nav-machines = Machines
nav-plan = Plan
nav-platform = Platform
nav-charts = Charts
nav-mesh = Mesh
nav-planes = Planes
nav-packages = Packages
nav-images = Images
nav-dhcp = DHCP
nav-jobs = Jobs
nav-audit = Audit
nav-the-site = Site
nav-settings = Settings
nav-clock = Clock
log-out = Log out
sealed-strip = <strong>The seed is sealed.</strong> It serves boot files and packages but cannot approve machines.
unseal = Unseal
warnings = Warnings
foot-help = Help for this page
foot-docs = Documentation
foot-about = About
foot-look = Appearance and language
live-on = live
live-off = not connected
live-changed = changed; reload to see it
live-no-copy = copying is not allowed here
live-select-all = Select all on this page
rights-viewer = viewer
rights-operator = operator
rights-administrator = administrator
rights-auditor = auditor
error = Error:
copy = Copy
copy-command = the command
copy-mac = the MAC address
copy-address = the address
copy-serial = the serial number
labels = Labels

## Times
ago-now = just now
ago-seconds = { $n } s ago
ago-minutes = { $n } min ago
ago-hours = { $n } h ago
ago-days = { $n } d ago

## Appearance and language
look-title = Appearance and language
look-about = Kept in this browser, for this seed.
look-theme = Theme
theme-system = As the system has it
theme-light = Light
theme-dark = Dark
theme-contrast = High contrast
look-language = Language
language-browser = As the browser asks for
look-save = Save
look-partly = The chapters of the documentation are in English only.

## Login
log-in = Log in
user-name = User name
password = Password
log-in-passkey = Log in with a passkey
passkey-unused = No passkey was used.
passkey-elsewhere = Passkeys work at { $x } only, with a certificate that this browser trusts

## First administrator
admin-title = First administrator
admin-head = Create the first administrator
admin-about = This seed has no administrator yet. To create one, enter the set-up code that the daemon printed when it started.
setup-code = Set-up code
confirm-password = Confirm password
admin-create = Create administrator

## Set-up
setup-title = Set-up
setup-new-seed = new seed
setup-head = Set up this seed
setup-about = This machine's console shows a set-up code and the fingerprint of this page's certificate. Compare the fingerprint before you enter any secret.
setup-site = Site name
setup-passphrase = Site passphrase
setup-passphrase-about = It encrypts the site's keys and is needed after every start. It cannot be reset: without it, this site can never approve another machine.
setup-passphrase-confirm = Confirm passphrase
setup-user = Administrator user name
setup-iface = Boot network interface
setup-iface-about = The seed answers DHCP on this interface. If the network has another DHCP server, the seed assigns no addresses and only provides boot information.
setup-create = Create site
setup-link = link
setup-no-link = no link

## Errors
error-refused = The request was refused
error-unauthorized = Log in first
error-forbidden = Not allowed
error-not-found = Page not found
error-method = Use the form on the page
error-timeout = The request took too long
error-sealed = The seed is sealed
error-too-many = Too many attempts
error-unavailable = The seed is busy
error-internal = An error inside the seed
error-back = To the first page
error-request = Request <code>{ $x }</code>. Search for this id in the daemon's log.

## The password again
again-head = Enter your password again
again-why = This cannot be undone, or gives another person access. To make sure that it is you, enter the password of <b>{ $x }</b>. What you entered before is kept, and the action continues.
continue = Continue
cancel = Cancel

## Bring-up sheet
sheet-title = Bring-up sheet
sheet-about = A card for each machine that is planned or waits for approval, to print and take to the rack. The QR code leads a phone to the form of the machine.
sheet-address = The QR codes lead to { $x }.
sheet-only-here = This page was opened as { $x }, which a phone cannot reach. Open it by an address of the seed before you print it.
sheet-none = No machine is planned, and none waits for approval.
sheet-to-plan = Plan of enrollment
sheet-not-planned = Not planned
sheet-serial = Serial
sheet-macs = MAC
sheet-role = Role
sheet-disk = Disk
sheet-place = Place
sheet-model = Model
sheet-code = Pairing code
sheet-qr = QR code of the form of { $x }
sheet-count = { $n ->
    [one] 1 machine
   *[other] { $n } machines
}
sheet-print = Bring-up sheet to print
pages = Pages
page-of = Page { $n } of { $x }
page-previous = Previous page
page-next = Next page

## Stages and states
stage-seen = Seen
stage-waiting = Waiting
stage-installing = Installing
stage-joining = Joining
stage-working = Working
stage-silent = Silent
stage-failed = Failed
stage-ended = Ended
stages = Stages
state-seen = Seen
state-discovered = Discovered
state-pending = Pending
state-confirming = Confirming
state-approved = Approved
state-issued = Issued
state-installing = Installing
state-installed = Installed
state-fabric-ready = FabricReady
state-converged = Converged
state-denied = Denied
state-revoked = Revoked
state-failed = Failed
state-expired = Expired
means-seen = Requested an address; its agent has not contacted the seed yet.
means-discovered = The agent has contacted the seed and is about to send its keys.
means-pending = Waiting for approval: its console shows a pairing code.
means-confirming = Checking the code with the machine…
means-approved = Approved; the agent is about to fetch its identity.
means-issued = The agent has its identity and is about to write the disk.
means-installing = Writing and verifying the disk.
means-installed = The disk is written; the machine boots from it and joins the planes.
means-fabric-ready = Connected to all planes; its configuration is being applied.
means-converged = A working node.
means-denied = Not approved.
means-revoked = No longer a member of the planes.
means-failed = The machine gave up. Restart it to enroll it again.
means-expired = Not approved in time. Restart the machine to enroll it again.
unknown-model = unknown model
no-address = none
list-holds = holds list version { $n } of { $x }
list-unreported = has not reported its list; the current one is version { $n }
installing = Installing
progress-of = { $x } of { $y }
progress-seconds = { $n } s left
progress-minutes = { $n } min left

## Home
home-title = Home
home-find = Approve a machine: pairing code
home-continue = Continue
home-typed = Codes entered
home-plan = Plan of enrollment, join window, denied machines
home-steps = The first hour of this site
step-done = (done)
step-open = (open)
step-site = Create the site
step-admin = Create an administrator
step-admin-how = Use the set-up code that the seed printed when it started.
step-unseal = Unseal the seed
step-unseal-how = A sealed seed serves boot files but approves no machine.
step-keys = Add SSH keys
step-keys-how = Nodes have no passwords: without a public key in ssh.authorizedKeys of cluster.yaml, you cannot log in to the nodes that you install.
step-snapshot = Build the package snapshot
step-snapshot-how = Nodes are built from it, without the Internet.
step-images = Build the images
step-images-how = The system that machines boot from the network, and one artifact for each role.
step-boot = Boot a machine from the network
step-boot-how = Connect it to the boot network, and choose PXE or HTTP boot in its firmware.
step-approve = Approve the first node
step-approve-how = Type the code that its console shows into the field above. It becomes a node when its role has been applied.
step-pending = Show pending machines
home-needs = Needs you
home-aside = Set aside
home-quiet = Nothing needs you.
need-sealed = The seed is sealed: it cannot approve machines.
need-keys = cluster.yaml has no SSH keys (ssh.authorizedKeys): there is no way to log in to the nodes that are installed.
need-waiting = { $n ->
    [one] 1 machine waiting for approval.
   *[other] { $n } machines waiting for approval.
}
need-waiting-since = { $n ->
    [one] 1 machine waiting for approval, the oldest came { $x }.
   *[other] { $n } machines waiting for approval, the oldest came { $x }.
}
need-failed = { $n ->
    [one] 1 machine failed: { $x }
   *[other] { $n } machines failed: { $x }
}
need-failed-silently = { $n ->
    [one] 1 machine failed without reporting a reason
   *[other] { $n } machines failed without reporting a reason
}
need-silent = { $n ->
    [one] 1 node silent: { $x }
   *[other] { $n } nodes silent: { $x }
}
need-silent-more = { $n ->
    [one] 1 node silent: { $x } and { $more } more
   *[other] { $n } nodes silent: { $x } and { $more } more
}
need-unaware = { $x } revoked: { $n } of { $all } nodes have not received this revocation yet.
need-no-snapshot = There is no package snapshot: nothing can be built or installed.
need-proof-failed = An offline installation from the package snapshot failed.
need-unproven = The package snapshot has not been proven by an offline installation.
need-certificates = { $n ->
    [one] The certificates of 1 node end within a month: { $x }
   *[other] The certificates of { $n } nodes end within a month: { $x }
}
need-capsule-old = The newest capsule of the site was exported { $x }.
need-no-capsule = The site was never exported: without a capsule, it cannot be recovered on another seed.
go-approve = Approve
go-show = Show
go-export = Export
job-by = started by { $x } { $when }
home-events = Recent events
home-no-events = No events yet.
col-when = When
col-machine = Machine
col-event = Event
col-kind = Kind
event-by = by { $x }
home-roles = Roles
col-role = Role
col-artifact = Artifact
col-min-disk = Minimum disk
not-built = not built
home-snapshot = Package snapshot
home-no-snapshot = none published
home-epoch = epoch { $n }
home-clock = time on the seed
job-export = Exporting a capsule
job-verify = Verifying a capsule
job-import = Importing a capsule
job-drill = Recovery drill
job-build = Building an image
job-verify-output = Verifying an image
job-verify-log = Verifying the event log
job-running = Running
job-done = Done
job-failed = Failed
job-stopped = Stopped
job-events = { $n } of { $x } events
proof-unproven = unproven
proof-proven = proven
proof-failed = failed
typed-checking = { $x }: the machine checks the code ({ $order })
typed-installs = { $x } installs ({ $order })
typed-installed = { $x } is installed ({ $order })
typed-second = { $x }: a second user has to agree ({ $order })
typed-again = { $x } waits again
typed-ended = { $x }: { $order }
typed-not-approved = { $x }: it was not approved

## Machines
machines-title = Machines
machines-search = Search
machines-search-help = Words, or <code>serial:</code> <code>role:</code> <code>state:</code> <code>mac:</code> <code>ip:</code> <code>label:</code> <code>name:</code> <code>place:</code> <code>model:</code> before one; quotation marks keep words together.
machines-add-labels = Add labels
machines-remove-labels = Remove labels
machines-no-match = No machine matches.
machines-show-all = Show all machines
machines-none = No machine has been seen yet. Connect one to the boot network and boot it from there; it appears here with its first request.
machines-count = { $n ->
    [one] 1 machine
   *[other] { $n } machines
}
machines-page = page { $n } of { $x }
machines-all = All
machines-select = Select
machines-select-one = Select { $x }
machines-code = code begins with <code>{ $x }-</code>
col-state = State
col-name = Name
col-model = Model
col-serial = Serial
col-address = Address
col-place = Place and labels
col-heard = Last heard
place = Place
bulk-title = With the selected machines
bulk-approve = Approve…
bulk-deny = Deny…
bulk-on = Power on
bulk-cycle = Power cycle…
bulk-off = Power off…
bulk-labels = Labels
bulk-commas = separated by commas

## A machine
silent-since = The node was last heard { $x }.
silent-check = A running node reports every 30 seconds. Check its power and its network; it is shown as { $x } again with its next report.
since = Since
reason-is = Reason:
tries-again = The machine tries again by itself.
no-waiting = Waiting does not help.
rivals-head = { $n ->
    [one] Conflict: 1 other machine claims the same row of the plan.
   *[other] Conflict: { $n } other machines claim the same row of the plan.
}
rival-chosen = its code was typed
rival-code = code
rivals-do = Type the code of the right machine, or deny the others. Until then, a click approves none of them.
written = { $x } written and verified
mac-address = MAC address
boot-network = Boot network
serial-number = Serial number
first-seen = First seen
power = Power
power-controls = Power and boot controls
peer-list = Peer list
wrong-codes = Wrong codes
diagnosis = Boot diagnosis
verdict-denied = <strong>Denied</strong> by { $x } { $when }
verdict-cannot = It cannot ask to enroll.
verdict-aside = <strong>Not now</strong>, said by { $x } { $when },
verdict-until = until { $x }.
verdict-allow = Allow it again
verdict-list = List it as waiting
approve-may-not = An operator or administrator can approve this machine.
approve-title = Approve this machine
approve-was-wrong = <strong>The last code was wrong.</strong> The machine shows a new one.
differs-head = This is not the machine that the plan means.
differs-plan = The plan says
differs-do = Look at the machine, and correct the <a href="/plan">plan</a> or fill in the form yourself. The code alone is refused.
filled-in = Filled in
code-is-enough = Its code is enough on the <a href="/">first page</a>.
against = It cannot be approved like this:
says-name = name { $x }
says-role = role { $x }
says-disk = disk { $x }
click-approve = Approve as planned, without a code
click-trusts = The machine sent its code over the boot network: this trusts that network.
approve-enter = Enter the code shown on the machine's console (screen or serial port)
approve-begins = it begins with
approve-proves = It proves to the seed that this is the machine, and to the machine that you approved it.
pairing-code = Pairing code
host-name = Host name
choose-role = Choose a role
role-not-built = no artifact built yet
role-disk = disk of { $x } or more
role-disk-smallest = disk of { $x } or more, the smallest
role-disk-largest = disk of { $x } or more, the largest
disk = Disk
choose-disk = Choose a disk
disk-in-place = The machine already runs from this disk. Nothing is written to it.
disk-erased = Everything on this disk will be erased.
disk-removable = removable
disk-part-of = part of { $x }
disk-multipath = the same disk as { $x } (multipath)
disk-sectors = sectors of { $n } bytes: cannot be installed on
disk-twin = not distinguishable from another disk: cannot be installed on
disk-rotating = rotating
disk-solid = solid state
disk-wwn = none; WWN { $x }
disk-path = none; connected at { $x }
approve-replace = Replace the node that currently has this host name (it will be revoked)
approve-do = Approve
approve-install = Approve and install
not-proven = What the code does not prove
not-proven-program = It does not prove which program the machine runs. A machine that boots from the network does not authenticate its initramfs and command line: an attacker on the same segment can replace them and show its own code. Secure Boot covers shim, GRUB, kernel and kernel modules only.
not-proven-medium = Use a segment that you control, or start the machine from an enrollment medium: <code>seedd image build --target enroll-iso</code>. It has the agent and this site's public key, and the network supplies only data that is checked against that key.
not-now-or-deny = Not now, or deny this machine
not-now-for = Not now: do not list it as waiting for
for-hour = 1 hour
for-day = 1 day
for-days = { $n } days
not-now = Not now
deny-about = Denying is remembered: the machine cannot ask again until you allow it.
reason = Reason
reason-recorded = (recorded in the event log)
deny = Deny
deny-all-from = Deny all from { $x }
deny-all-here = Deny all from this address
claim-node = Others that claim this node's MAC address
claim-several = Several machines claim this MAC address
claim-about = A MAC address is a claim that any host can make. Approve only the machine whose console shows the code.
claim-node-safe = The node itself is not affected.
claim-waiting = Waiting for approval
col-code = Code begins with
col-since = Since
col-action = Action
col-size = Size
col-driver = Driver
col-link = Link
replace-title = Replace this node
voters = Without this node, { $n } of { $x } members of etcd are healthy:
voters-majority = the cluster keeps its majority.
voters-none = fewer than a majority. Bring another member back first.
replace-restart = Restart the machine from the network (power and boot controls at <code>{ $x }</code>), or connect another machine.
replace-approve = It appears among the machines, with a code on its console. Approve it under the name <code>{ $x }</code> with the box <em>Replace the node that currently has this host name</em> ticked. This revokes the keys of the old node; the new one gets the same addresses.
replace-joins = It installs, joins the planes and runs its plays. A member of etcd takes the place of its predecessor. The <a href="/platform">platform</a> page shows when it is healthy.
replace-command = <code>seedd node replace { $x }</code> does the first step and reports how long each one took.
revoke-node = Revoke this node…
forget-machine = Forget this machine…
place-example = hall 2, rack 7, unit 12
save = Save
timeline = Timeline
packets = { $n ->
    [one] Download the last packet
   *[other] Download the last { $n } packets
}
packets-for = for Wireshark
with-errors = with errors
events-count = { $n ->
    [one] 1 event
   *[other] { $n } events
}
phase-boot = Boot from the network
phase-pairing = Pairing
phase-install = Installation
phase-join = Boot from disk and fabric
phase-role = Role
phase-operation = Operation
hardware = Hardware
hardware-by = Reported by the machine.
hardware-none = The agent has not reported yet.
disks = Disks
disks-more = { $n ->
    [one] 1 further disk is not listed.
   *[other] { $n } further disks are not listed.
}
interfaces = Network interfaces
link-up = up
link-down = down
link-speed = up, { $n } Mbit/s
earlier = Earlier enrollments
unknown = unknown
fact-vendor = Vendor
fact-product = Product
fact-uuid = SMBIOS UUID
fact-firmware = Firmware
fact-processor = Processor
fact-memory = Memory
fact-booted = Booted from
fact-kernel = Kernel
firmware-of = { $x } of { $when }
firmware-old = , older than the fixes for known vulnerabilities of its network stack (PixieFail); update the firmware
first-approved = <strong>{ $x } has approved this machine</strong>
first-as = as <code>{ $x }</code>
first-replaces = replacing the node of this name
first-second = A second user has to agree.
first-you = It was you: another operator or administrator has to agree. To change the decision, enter the code again below.
first-otherwise = To decide otherwise, enter the code below; then your decision needs a second user.
agree = Agree
agree-install = Agree and install

## Unseal
unseal-about = The site's keys are stored encrypted with the site passphrase. Unsealing decrypts them into memory until the daemon stops. It takes a few seconds.
unseal-may-not = An administrator can unseal the seed.

## Approve many
many-title = Approve machines
many-none = None of these machines is waiting for approval.
many-all = All machines of this list went through.
many-about = Type a code and press Enter: the machine that shows it is approved with the values of its row. What goes through leaves the list. The disk of each machine is erased, unless it joins in place.
many-next = Next pairing code
many-count = { $n ->
    [one] 1 machine waiting in this list
   *[other] { $n } machines waiting in this list
}
many-more = { $n ->
    [one] 1 more is waiting
   *[other] { $n } more are waiting
}
many-aside = { $n } set aside
many-serial = serial { $x }
many-since = since { $x }
many-code-of = Pairing code of { $x }
many-name-of = Host name of { $x }
many-role-of = Role of { $x }
many-disk-of = Disk of { $x }
many-in-place = joins in place: nothing is written
many-fill-title = Fill in all rows
many-pattern = Names by pattern
many-pattern-help = <code>{"{n}"}</code> is a free number, <code>{"{serial}"}</code>, <code>{"{mac}"}</code> and <code>{"{place}"}</code> are the machine's
many-as-row = As in each row
many-fill = Fill in
many-gone = machine { $n } is not waiting any longer

## Confirmations
confirm-type = Type <code>{ $x }</code> to confirm
revoke-title = Revoke a node
revoke = Revoke
revoke-keys = Its keys leave the peer list. The other nodes stop communicating with it as soon as they have the new list, usually within 30 seconds.
revoke-role = Its role { $x } has one node less; what runs on it can no longer be reached over the planes.
revoke-disk = Its disk is not erased. The machine can be installed again from the network, with new keys; its name keeps its addresses.
forget-title = Forget a machine
forget = Forget
forget-lost = Its requests that were not approved, its labels and its place are deleted. Its events stay in the log.
forget-returns = It returns to the list when it is seen on the network again.
power-off = Power off
power-off-lost = The machine is switched off immediately, like pulling the plug. What runs on it stops, and what it has not written to disk is lost.
power-cycle = Power cycle
power-cycle-lost = The machine is switched off immediately and on again. What runs on it stops, and what it has not written to disk is lost.
votes-majority = It votes in etcd. Without it, { $n } of { $x } members are healthy: the cluster keeps its majority.
votes-none = It votes in etcd. Without it, { $n } of { $x } members are healthy: the cluster loses its majority and stops writing.
bulk-type = Type { $n }, the number of machines
bulk-deny-lost = Each machine is refused until it is allowed again.
bulk-off-lost = Each machine is switched off immediately, like pulling the plug. What runs on it stops, and what it has not written to disk is lost.
bulk-cycle-lost = Each machine is switched off immediately and on again. What runs on it stops, and what it has not written to disk is lost.
bulk-all-done = { $n ->
    [one] Done for 1 machine.
   *[other] Done for all { $n } machines.
}
bulk-failed = { $n } of { $x } machines failed.
bulk-results = Results
bulk-result = Result
bulk-back = Back to the machines

## Power
power-of = Power of { $x }
power-at = at <code>{ $x }</code>
power-as = as <code>{ $x }</code>
power-refresh = Refresh status
power-pxe = Boot from the network at the next start
power-insert = Insert { $x }
power-eject = Eject medium
power-immediately = These take effect immediately, whatever the machine is doing:
power-none = No management controller is configured for this machine.
power-wake = Send a Wake-on-LAN packet to <code>{ $x }</code>
power-certificate = Certificate
power-confirmed = You confirmed this certificate of the controller. Another one is refused, and no password is sent to it.
power-weak = This certificate is weak:
power-unconfirmed = Not confirmed yet. Until you confirm the controller's certificate, no password is sent to it.
power-another = The controller now shows another certificate. Either it was replaced, or the connection is intercepted.
power-shows = The controller shows this certificate.
power-compare = Compare its SHA-256 fingerprint with the one on the controller's own page or console:
power-trust = They are equal: confirm this certificate
power-read = Read the controller's certificate
power-delete = Delete this controller and its password
power-change = Change controller or password
power-controller = Management controller
power-vault = The password is encrypted immediately and stored in the site's vault. The seed can use it only while unsealed, and no page ever shows it.
power-protocol = Protocol
power-cipher = Cipher suite (IPMI)
power-automatic = automatic
power-cipher-old = 3 (older controllers)
power-cipher-new = 17 (newer controllers)
power-privilege = Privilege (IPMI)
power-administrator = Administrator
power-operator = Operator
power-user = User
power-may-not = An operator or administrator can control the power of this machine.

## Clock
clock-about = The nodes take their time from the seed. Signatures, leases and sessions work even if it is wrong, but log timestamps would be wrong too.
clock-now = Current time
clock-source = Source
clock-offset = Offset
clock-drift = Drift
clock-synchronised = The clock is synchronised to a time server and cannot be set here.
clock-time = Time (UTC)
clock-set = Set clock
clock-browser = Use this browser's time

## Jobs
jobs-none = No job has run since the seed started. Jobs are started where their results are: capsules and drills on <a href="/site">Site</a>, images on <a href="/images">Images</a>.
jobs-none-audit = The check of the event log is on <a href="/audit">Audit log</a>.
jobs-left = about { $x } left
jobs-stop = Stop
jobs-stop-one = Stop job { $n }
jobs-number = Job { $n }
jobs-ended = ended
jobs-after = after { $x }
jobs-running = running for { $x }
jobs-steps = Steps of job { $n }
jobs-about = A seed runs one job at a time and keeps the last twenty until it is restarted.

## Packages
snapshot = Snapshot
snapshots = Snapshots
snapshots-proven = proven if every role installs from the snapshot alone, offline
snapshots-none = None. Build one with <code>seedd darksite build</code>.
suite = Suite
proof = Proof
offline = Installed offline
in-use = in use
snapshot-maker = built by site key <code>{ $x }</code>
snapshot-untested = not tested; run <code>seedd darksite prove</code>
damaged = Damaged snapshots
damaged-one = Snapshot <code>{ $x }</code> is damaged and not served:
damaged-do = Delete it and build or import it again.
extras = Extras
extras-pinned = pinned in cluster.yaml
extras-none = None. List them in cluster.yaml under <code>extras</code> and run <code>seedd darksite extras fetch</code>.
upstream = Upstream signature
upstream-none = none, pinned by digest

## DHCP
dhcp-networks = Networks
dhcp-network = Network
dhcp-pool = Pool
dhcp-used = In use
dhcp-mode = Mode
dhcp-used-of = Addresses of { $x } in use
dhcp-of = { $n } of { $x }
dhcp-short = Nearly all addresses are in use: extend the pool in <a href="/settings">cluster.yaml</a>.
dhcp-range = { $x } to { $y }
dhcp-no-pool = no pool
dhcp-full = addresses from the pools, to every machine
dhcp-reservation = addresses for reservations only
dhcp-proxy = boot files only, next to another DHCP server
dhcp-auto = addresses while no other DHCP server answers, otherwise boot files only
dhcp-others = Other DHCP servers
dhcp-others-heard = heard on the segment
dhcp-server = Server
dhcp-times = Times
dhcp-did = What it did last
dhcp-no-others = No other DHCP server has been heard lately.
dhcp-search = Search leases
dhcp-search-for = Address, MAC address or name
dhcp-leases = Leases
dhcp-lease = Lease
dhcp-current = { $n } current
dhcp-match = { $n } of { $x } match
dhcp-no-leases = No machine has a lease. Connect one to the boot network and have it boot from the network.
dhcp-no-match = No lease matches this search.
dhcp-ends = Ends in
dhcp-reserved = reserved
dhcp-reservations = Reservations
dhcp-reservations-in = set in <a href="/settings">cluster.yaml</a>
dhcp-no-reservations = None. A reservation gives a machine the same address every time.
dhcp-leased = leased now
dhcp-not-leased = not leased

## Audit log
audit-title = Audit log
audit-kept = Events { $n } to { $x } are kept, chained by SHA-256.
audit-covered = { $n ->
    [one] The signed checkpoint covers events up to
   *[other] The newest of { $n } signed checkpoints covers events up to
}
audit-no-checkpoint = There is no signed checkpoint yet: one is signed every hour while the seed is unsealed.
audit-verify = Verify the chain
audit-sign = Sign a checkpoint
audit-search = Search events
audit-words = Words
audit-who = Who
audit-machine-help = host name or MAC address
audit-since = Since (UTC)
audit-until = Until (UTC)
audit-follow = Follow
audit-unfollow = Stop following
audit-jsonl = Export as JSON lines
audit-syslog = Export for syslog
audit-clear = Clear the search
audit-events = Events
audit-newest-first = newest first
audit-none-so-far = Nothing found so far.
audit-no-match = No event matches this search.
audit-time = Time
audit-what = What happened
audit-text = Text
audit-searched = { $n ->
    [one] 1 event was searched, down to event { $x }.
   *[other] { $n } events were searched, down to event { $x }.
}
audit-newest = Newest
audit-older = Older events
audit-search-older = Search older events

## One event
audit-event = Event { $n }
audit-machine = Machine { $n }
audit-its-events = its events
audit-enrollment = Enrollment
audit-facts = Facts as hashed
audit-hash = Hash
audit-hash-before = Hash before
audit-first = none: this is the first event
audit-checkpoint = Checkpoint
audit-signed = signed
audit-signed-over = over events up to { $n }, hash
audit-uncovered = not covered by a signed checkpoint yet
audit-event-before = Event before
audit-event-after = Event after

## Settings
settings-about = The site is described by one file, cluster.yaml. A change is checked and compared first; the running seed reads the file as soon as it is applied and stays unsealed. The file that it replaces is kept as cluster.yaml.former.
settings-overlaid = The boot network is overridden at this location: see <a href="/site">Site</a>.
settings-refused = The file is refused
settings-line = Line { $n }, column { $x }
settings-unchanged = The file is valid and has no changes.
settings-changes = What changes
settings-numbers = Line numbers of the new file
settings-number = Line
settings-change = Change
settings-text = Text
settings-removed = removed
settings-added = added
settings-left-out = lines left out
settings-nodes = What follows for the nodes
settings-apply = Apply these changes
settings-edited = edited, not applied
settings-check = Check and compare
settings-discard = Discard the changes
settings-lines = The file with line numbers
settings-lines-edited = The edited file with line numbers

## Documentation
docs-about = The documents of Kubedos { $x }, as they were when it was built. They need no network.
docs-running = Running a site
docs-reference = Reference
docs-plays = Plays of the platform
docs-background = Background
docs-decisions = Decisions
docs-sections = Sections of this chapter

## Join tokens
join-token-title = Join tokens
join-token-about = A machine with a join token becomes a node without a code. Tokens are created and revoked on the seed: <code>seedd token</code>.
join-token-agree-about = Two users have to approve machines of these roles. <strong>Agree only to a token that you expect</strong>: it makes nodes of as many machines as it has uses, without another question. Until then, machines with it wait.
join-token-list = Tokens
join-token-waiting = { $n ->
    [one] 1 waiting for a second user
   *[other] { $n } waiting for a second user
}
join-token-none = None.
join-token-one = Token
join-token-names = Names
join-token-used = Used
join-token-uses = { $n } of { $x }
join-token-until = Until
join-token-created = Created
join-token-in-image = in image { $x }
join-token-agreed = agreed by { $x }
join-token-agree = Agree to join token { $x }
join-token-valid = Valid
join-token-waits = Waits for a second user
join-token-ended = ended

## Countersigning
countersign-title = Countersigning
countersign-problem = Problem
countersign-about = Nodes take a new node only with a signature of the key that is kept off this seed, so that a stolen seed cannot add one. Nodes are removed without it.
countersign-key = Key
countersign-checked = Checked by nodes
countersign-yes = yes
countersign-no = no
countersign-not-yet = not yet: the nodes below need a signature each first
countersign-next = Next key
countersign-next-about = It takes over once it has signed every node below.
countersign-waiting = Waiting for a signature
countersign-count = { $n ->
    [one] 1 node
   *[other] { $n } nodes
}
countersign-none = None. A node appears here after its machine was approved.
countersign-fingerprint = Fingerprint
countersign-listed = In the peer list
countersign-more = { $n ->
    [one] And 1 more, which is in the request.
   *[other] And { $n } more, all of which are in the request.
}
countersign-out = 1. Take the request to the offline machine
countersign-download = Download the request
countersign-there = There: <code>seedd countersign sign countersign-request.json --key FILE</code>. It shows name, role and fingerprint of each node; the console of the machine shows the same fingerprint.
countersign-answer = Bring an answer
countersign-in = 2. Bring the answer back
countersign-file = The file that it wrote
countersign-text = or its text
countersign-import = Import the signatures
countersign-may-not = An operator or administrator can import signatures.
countersign-unset = This site has no countersigning key: an approved machine enters the peer list at once. With a key that is kept off the seed, a stolen seed cannot add nodes. <a href="/docs/countersigning">How to begin</a>
## People
people-title = People
people-you = You are <b>{ $x }</b>, with the rights of { $rights }.
people-password-changed = Your password was changed. All other sessions of yours were ended.
people-token = API token { $x }
people-copy-now = Copy it now: it is not shown again.
people-send-as = Send it as <code>Authorization: Bearer …</code>. Anyone who has it can do what its scopes allow, until it expires or is revoked.
people-passkey = Passkey { $x }
people-passkey-go = Continue with your authenticator: a security key, a phone, or this device.
people-passkey-create = Create the passkey
people-passkey-script = Passkeys need JavaScript.
people-no-answer = the seed did not answer
people-sessions = Your sessions
people-sessions-all = Sessions of all users
people-user = User
people-browser = Browser
people-began = Logged in
people-used = Last used
people-never = never
people-this-session = this session
people-end = End
people-end-one = End the session of { $x } from { $address }, used { $used }
people-end-others = End all my other sessions
people-tokens = Your API tokens
people-tokens-all = API tokens of all users
people-tokens-none = None. A token lets a program use the API.
people-begins = Begins with
people-scopes = Scopes
people-expires = Expires
people-expired = expired
people-revoke-one = Revoke the token { $x } of { $user }
people-passkeys = Your passkeys
people-passkeys-all = Passkeys of all users
people-passkeys-about = log in without the password, at the name of the seed
people-passkeys-none = None.
people-added = Added
people-remove = Remove
people-remove-one = Remove the passkey { $x } of { $user }
people-passkey-add = Add a passkey: name
people-passkey-example = laptop
people-token-create = Create an API token
people-token-about = For a program, with some of your rights. It cannot do what cannot be undone: for that, log in.
people-token-days = Valid for (days, at most { $n })
people-token-submit = Create token
people-password-change = Change your password
people-password-about = This ends all your other sessions. API tokens stay valid.
people-password-old = Current password
people-password-new = New password
people-password-repeat = Repeat the new password
people-password-submit = Change password
people-users = Users
people-rights = Rights
people-rights-of = Rights of { $x }
people-rights-save = Save the rights of { $x }
people-own = you
people-disabled = disabled
people-enable = Enable
people-enable-one = Enable { $x }
people-disable = Disable
people-disable-one = Disable { $x }
people-remove-user = Remove { $x }
people-remove-lost = Ends the sessions and revokes the API tokens. The event log keeps the name.
people-remove-confirm = To confirm, type <b>{ $x }</b>
people-add = Add a user
people-viewer = sees machines, events and packages
people-auditor = sees also who did what: users, sessions, the audit log
people-operator = works with machines: approval, power, convergence, images
people-administrator = does everything, with users, the site and its keys
people-repeat = Repeat the password
people-add-submit = Add user

## Site and recovery
site-head = Site and recovery
site-this = This seed
site-mode-active = active: approves machines and issues identities
site-mode-standby = standby: serves only these pages until promoted
site-mode-fenced = fenced: another seed of this site was promoted
site-key = Site key
site-recipient = Recipient
site-medium = Medium
site-underlay = Underlay
site-seed-at = seed { $x }
site-overrides = overrides cluster.yaml
site-seal = Seal: forget the private keys
site-promote = Promote this seed
site-promote-about = Do this only after the other seed has been shut down for good: two active seeds would issue conflicting identities. Promotion increases the epoch by one, and nodes and peers reject the older epoch.
site-promote-confirm = To confirm, type the site name <b>{ $x }</b>
site-export = Export a capsule
site-export-about = A signed file that contains the complete site, encrypted for another seed. The recipient is shown on the other seed's Site page.
site-recipient-other = Recipient of the other seed
site-since = Incremental to
site-since-none = nothing: a complete capsule
site-same-medium = Omit blobs already on the seed medium (the other seed must boot the same one)
site-split = Split
site-split-no = no, a single file
site-split-cd = parts of 650 MiB (CD)
site-split-fat = parts of 4000 MiB (FAT32)
site-split-disc = parts of 23 GiB (Blu-ray)
site-export-submit = Export capsule
site-import = Import a capsule
site-import-about = All signatures and digests are verified before import. This seed becomes a standby.
site-upload = Upload a capsule (or all of its parts)
site-upload-script = Without scripts: <code>PUT /api/v1/capsules/NAME?at=0&amp;total=SIZE</code>, see docs/second-site.md.
site-upload-other = { $x }: the seed already has another file with this name; delete it first
site-upload-status = the seed answered { $x }
site-upload-silent = { $x }: the seed does not answer; select the file again to resume
site-upload-retry = { $x }: retrying
site-upload-done = { $x } uploaded
site-file = Capsule, or first part
site-pin = Site key of the exporting seed
site-pin-form = 64 hex digits
site-import-passphrase = Site passphrase of this seed
site-take-place = Import the underlay too (otherwise this seed keeps { $x })
site-import-submit = Import
site-verify = Verify only
site-capsules = Capsules on this seed
site-free = { $x } free
site-no-capsules = None.
site-modified = Modified
site-uploaded = { $n }% uploaded
site-delete = Delete
site-delete-one = Delete { $x }
site-place = Underlay network
site-place-about = Moves this site to another subnet. Planes and names stay the same. All leases are reset, and machines reach the seed at its new address.
site-subnet = Subnet
site-address = Address of this seed
site-first = First address for machines
site-last = Last address for machines
site-router = Router (optional)
site-move = Change underlay
site-reset = Reset to cluster.yaml
site-drill-about = Rebuilds the site from its capsule in an isolated network, with one replacement node, and compares the time with <code>acceptance.mttrTargetMinutes</code>.
site-drill-start = Start drill

## Listings of files
listing-count = { $n ->
    [one] 1 entry
   *[other] { $n } entries
}
listing-cut = truncated
listing-bytes = Bytes
listing-modified = Modified (UTC)
## Plan
plan-about-click = The plan says which machine becomes which node. A planned machine needs only one click: it sends its code over the boot network, which this site trusts. Everything else is refused or asked.
plan-about-code = The plan says which machine becomes which node. A planned machine needs only the code on its console, typed on the <a href="/">first page</a>. Everything else is refused or asked.
plan-tokens = Join tokens
plan-dry-run = Dry run
plan-dry-kept = Dry run: nothing was kept.
plan-dry-good = { $n ->
    [one] The text below has 1 row without contradictions.
   *[other] The text below has { $n } rows without contradictions.
}
plan-dry-bad = The text below has contradictions.
plan-problems = Contradictions
plan-line = Line
plan-problem = Problem
plan-to-do = What to do
plan-all-lines = all
plan-conflicts = Conflicts
plan-conflicts-about = <strong>Several machines claim the same row of the plan.</strong> A serial number and a MAC address are claims that any host can make. Type the code on the console of the right machine on the <a href="/">first page</a>, or deny the wrong ones. Until then, a click approves none of them.
plan-typed = Code typed
plan-deny-one = Deny the machine at { $x } with code
plan-waiting = Planned and waiting
plan-aside = set aside
plan-none-waiting = None. A machine of the plan appears here once its agent runs.
plan-role-disk = Role and disk
plan-not-planned = Not the planned machine.
plan-code-refused = The code alone is refused.
plan-type = Type its code on the <a href="/">first page</a>: <code>{ $x }</code>
plan-others = Waiting, not in the plan
plan-none = None.
plan-no-serial = none
plan-rule = Rule
plan-rows = Rows
plan-the-plan = The plan
plan-count = { $n ->
    [one] 1 row:
   *[other] { $n } rows:
}
plan-count-conflict = { $n } in conflict
plan-count-waiting = { $n } waiting
plan-count-unseen = { $n } not seen
plan-count-nodes = { $n ->
    [one] 1 node already
   *[other] { $n } nodes already
}
plan-empty = There is no plan. Paste one below.
plan-all-wait = All its machines wait.
plan-at-line = line { $n }
plan-node = Node
plan-unseen = Not seen
plan-remove = Remove
plan-remove-one = Remove { $x } from the plan
plan-pages = Pages of the plan
plan-previous = Previous
plan-next = Next
plan-change = Change the plan
plan-format = CSV with a header line, or YAML. <code>serial</code> or <code>mac</code>, <code>name</code> and <code>role</code> are needed; <code>disk</code> is <code>only</code>, <code>smallest</code>, <code>largest</code>, <code>serial:NUMBER</code> or a name such as <code>nvme0n1</code>.
plan-file = or a file
plan-file-instead = (takes the place of the text)
plan-check = Check without keeping
plan-add = Add these rows
plan-set = Replace the plan
plan-remove-whole = Remove the whole plan
plan-remove-about = { $n ->
    [one] Its only row is removed. Nodes stay as they are; machines that wait need the whole form again.
   *[other] Its { $n } rows are removed. Nodes stay as they are; machines that wait need the whole form again.
}
plan-remove-all = Remove the plan
plan-may-not = An operator or administrator can change the plan and the join window.
window-title = Join window
window-is-open = Open
window-until = until { $when }, opened by { $x }. Unknown machines may ask to enroll.
window-is-closed = Closed
window-closed-about = Unknown machines are seen, but cannot ask to enroll. Planned machines, nodes and machines with a join token can.
window-for = Open for
window-hours = { $n } hours
window-extend = Extend
window-open = Open
window-close = Close now
window-always = Always open
window-always-about = Every machine may ask to enroll, and none joins without an approval. <code>enrollment.window: manual</code> in cluster.yaml closes it for unknown machines.
plan-verdicts = Denied and set aside
plan-verdicts-about = machines that are not listed as waiting
plan-said = Said
plan-by = By
plan-not-now = Not now
plan-until = until { $x }
plan-allow = Allow
plan-allow-one = Allow { $x }
plan-countersign = <a href="/countersign">Countersigning</a>: a key that is kept off the seed signs each new node.

## Platform
platform-payload = Payload
platform-runs = Nodes run payload
platform-order = , one role after the other.
platform-order-paused = , one role after the other; changes are paused.
platform-no-payload = No payload is published: roles with plays wait. <code>seedd payload publish</code> publishes one.
platform-check = Check for drift
platform-run-all = Run again everywhere
platform-pause = Pause
platform-resume = Resume
platform-paused = paused
platform-no-plays = no plays
platform-plays = runs { $x }
platform-after = , after { $x }
platform-no-node = No node.
platform-checks = Checks
platform-last-run = Last run
platform-last-message = Last message
platform-would = a run would change:
platform-no-checks = none yet
platform-pass = { $n } pass
platform-ran = { $ok } ok, { $changed } changed, { $n } s
platform-run = Run again
platform-run-one = Run again: the plays of { $x }
platform-more = { $n } more, which need less attention:
platform-all-of = all nodes of { $x }
platform-acceptance = Acceptance
platform-accepted = accepted
platform-not-accepted = not accepted
platform-accept = <code>seedd accept</code> runs the checks of cluster.yaml and signs the result.
stand-nothing = nothing to run
stand-waiting = waiting
stand-running = running
stand-converged = converged
stand-outdated = outdated
stand-failed = failed
stand-unhealthy = unhealthy
stand-silent = silent

## Charts
charts-time = Time shown
charts-source = from Prometheus on { $x },
charts-to = to
charts-alerts = Alerts
charts-no-alerts = No alert is pending or firing.
charts-firing = firing
charts-pending = pending
charts-since = since { $x }
charts-scale = 0 to { $x }
charts-picture = { $x }; the values are in the table below
charts-series = Series
charts-last = Last
charts-highest = Highest
charts-left-out = { $n ->
    [one] 1 more with smaller values is not shown.
   *[other] { $n } more with smaller values are not shown.
}
chart-cpu = Processor time used
chart-memory = Memory used
chart-disk = Root file system used
chart-planes = Received on each plane, all nodes
chart-network = Received on the underlay
chart-peers = Peers without a recent handshake
chart-targets = Targets that answer
chart-clock = Clock offset
chart-certificates = Life left of the certificate that ends first
chart-etcd-size = etcd: size of the database
chart-etcd-fsync = etcd: write-ahead log to disk, 99th percentile
chart-balancer = Load balancer: connections

## Mesh
mesh-shown = Plane shown
mesh-all = all planes
mesh-mean = mean of five minutes,
mesh-mean-from = mean of five minutes, from Prometheus on { $x },
mesh-violations = Violations
mesh-no-violations = No plane carried a service in the last hour that it should not.
mesh-violation = violation
mesh-carried = { $node }: { $plane } carried { $x } with { $peer }
mesh-blind = Not counting, because the kernel has no type information: { $x }.
mesh-traffic = Traffic between nodes
mesh-nothing = Nothing has been counted yet.
mesh-picture = Nodes and the traffic between them; the values are in the table below
mesh-undrawn = { $n ->
    [one] 1 node with less traffic is in the table only.
   *[other] { $n } nodes with less traffic are in the table only.
}
mesh-links = Links
mesh-bytes = bytes of IP packets, as sent
mesh-no-links = None. The play flow counts; put it into every role.
mesh-rate = Rate
mesh-rtt = Round-trip time
mesh-no-rtt = none measured
mesh-left-out = { $n ->
    [one] 1 more with less traffic is not shown.
   *[other] { $n } more with less traffic are not shown.
}
mesh-drops = Dropped packets
mesh-hour = last hour
mesh-reason = Reason of the kernel
mesh-packets = Packets

## Planes
planes-about = WireGuard networks of the site; <a href="/mesh">Mesh</a> shows their traffic
planes-purpose = Purpose
planes-addresses = Addresses
planes-port = UDP port
planes-topology = Topology
planes-nodes = Nodes
planes-carries = Carries
planes-none = none
planes-allowed = what is allowed
planes-open = every port
planes-mesh = mesh
planes-hub = hub: the seed
planes-hubs = hub: the seed, { $x }
planes-apart = Nothing is forwarded from one plane to another, and a node takes packets for its address of a plane on that plane only.
planes-allows = Allows
planes-allows-of = of planes that deny everything else
planes-plane = Plane
planes-from = From
planes-to = To
planes-ports = Ports
planes-built-in = built in
planes-replace-title = Replace keys of nodes
planes-replace-how = Each node makes its new key itself. The others get it before the node uses it, so that no plane is interrupted. One plane is done at a time; a node takes about two minutes.
planes-node = Node
planes-node-empty = host name; empty: every node
planes-every = every plane
planes-all = Every key of every node, if neither is given
planes-replace = Replace keys
planes-keys = Keys that are being replaced
planes-stage = Stage
planes-asked-by = Asked by
planes-queued = waits for its turn
planes-asked = waits for the new key of the node
planes-announced = waits until every node has the new key
planes-switched = changes over

## Images
images-build-title = Build an image
images-build-about = Makes the artifact of a role into the format of another platform. Machines that start from it enroll at this seed. An image that exists is not built again.
images-role = Role { $x }
images-build = Build
images-build-role = Build for role { $x }
images-all-roles = All roles
images-build-all = Build for all roles
images-here = Images on this seed
images-stale-means = stale: made from an artifact that is no longer in use; <code>seedd darksite gc</code> deletes all but the newest
images-none = None.
images-file = File
images-target = Target
images-made = Made
images-verified = Verified
images-secret = contains a join token: copy it on the seed
images-current = current
images-stale = stale
images-files = all files: <code>{ $x }</code>
images-only-for = only for { $x }
images-all = all
images-intact = intact
images-damaged = damaged
images-verify = Verify
images-verify-one = Verify { $x }

## About
about-system = System
about-database = Database
about-schema = schema { $n }
about-agents = Agents
about-protocol = protocol { $n }
about-ca = CA of this site
about-examples = Examples
about-bundle = Support bundle
about-bundle-has = One file with what others need to help: cluster.yaml, recent events, machines, convergence, and the state of this host. It has no keys and no passwords, and is encrypted to the operator's key of this site,
about-download = Download the support bundle
about-licences = Licences
about-licensed = Kubedos is licensed under the Apache License 2.0. It contains { $n } packages of other authors:
about-packages = Packages and their licences
about-rust = Rust packages of this version
about-package = Package
about-version = Version
about-licence = Licence
