#!/bin/sh
# Make FOLDER/python: Python for ARM64 with the locked packages, which qemu-aarch64 emulates. Of
# Debian's packages, on Debian; 2.5 GB.
set -eu
lock=$PWD
mkdir -p "$1/apt/lists/partial" "$1/apt/archives/partial"
cd "$1"
rm -rf root site
apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$PWD/apt" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$PWD/apt" -o Debug::NoLocking=1 "$@"
}
apt update
apt install --download-only --yes --no-install-recommends python3 libstdc++6 libgomp1
for package in apt/archives/*.deb; do dpkg-deb --extract "$package" root; done
for link in bin lib; do [ -e root/$link ] || ln -s usr/$link root/$link; done
version=$(basename root/usr/bin/python3.[0-9]*)
# What stages need and a test: antlr4, of DVC, has no wheel. pip would compare markers with this CPU.
awk 'FNR == 1 { file++ }
    /^[a-z]/ { keep = file == 1 ? !/^(antlr4|tensorflow-cpu)/ : /^(pytest|pluggy|iniconfig)==/ }
    /^tensorflow==/ { sub(/;[^\\]*/, "") }
    keep' "$lock/requirements.txt" "$lock/requirements/dev.txt" > requirements.txt
python -m pip install --quiet --target site --no-deps --no-compile --only-binary :all: \
    --python-version "${version#python}" --platform manylinux2014_aarch64 \
    $(printf -- "--platform manylinux_2_%s_aarch64 " 17 26 27 28 31 34) -r requirements.txt
cat > python <<EOF
#!/bin/sh
PYTHONPATH=$PWD/site exec qemu-aarch64 -L $PWD/root $PWD/root/usr/bin/$version "\$@"
EOF
chmod +x python
