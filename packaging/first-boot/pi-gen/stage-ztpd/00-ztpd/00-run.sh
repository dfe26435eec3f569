#!/bin/bash -e
# Put into files/: ztpd_VERSION_all.deb, the token as "token", and settings as *.toml. The token is
# a secret, and so are the image and pi-gen's work directory with it.

install -m 644 files/ztpd_*_all.deb "${ROOTFS_DIR}/tmp/ztpd.deb"
on_chroot << EOF
apt-get install -y --no-install-recommends /tmp/ztpd.deb
rm /tmp/ztpd.deb
EOF

if [ -e files/token ]; then
	install -m 600 files/token "${ROOTFS_DIR}/etc/ztpd/token"
fi
for settings in files/*.toml; do
	if [ -e "${settings}" ]; then
		install -m 644 "${settings}" "${ROOTFS_DIR}/etc/ztpd/ztpd.toml.d/"
	fi
done
