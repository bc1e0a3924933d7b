#!/bin/busybox sh
# Process 1 of the guest. Everything else is up to whoever types at /dev/ttyS0 or talks to /agent on /dev/ttyS1.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TERM=linux

mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs run /run
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing 2>/dev/null
ln -sf /proc/self/fd /dev/fd
hostname guest

# busybox tells process 1 by signal what to do: poweroff, reboot, halt.
finish() {
    sync
    umount -a -r 2>/dev/null
    "$1" -f
}
trap 'finish poweroff' USR2
trap 'finish reboot' TERM
trap 'finish halt' USR1

while read -r module; do
    insmod "$module" || echo "init: $module was not loaded"
done </etc/modules

# Waiting in the background keeps the traps quick.
respawn() {
    while :; do
        "$@"
        sleep 1
    done
}

agent() {
    respawn /agent /dev/ttyS1 >/dev/null 2>&1 </dev/null
}

console() {
    while :; do
        setsid -c sh -l <"$1" >"$1" 2>&1
        echo "init: the shell ended, here is another; poweroff ends the guest" >"$1"
        sleep 1
    done
}

if [ -x /agent ] && [ -c /dev/ttyS1 ]; then
    agent &
fi

cat >/etc/profile <<'PROFILE'
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TERM="${TERM:-linux}"
export PS1='guest:\w# '
cd /
PROFILE

line=/dev/ttyS0
[ -c "$line" ] || line=/dev/console
stty -F "$line" sane rows 50 columns 200 2>/dev/null
echo "hdvlab: guest is ready, Linux $(uname -r)" >"$line"
console "$line" &

while :; do
    wait
    sleep 1
done
