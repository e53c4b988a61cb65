# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest's side of scripts/bench: bench.args holds how long to idle first, and the parameters of the module.

read -r idle parameters </bench.args
sleep "$idle"
insmod /mbpool.ko || exit
# shellcheck disable=SC2086 # words
insmod /mbpool_bench.ko $parameters || exit
dmesg | sed -nE 's/^(<[0-9]+>)?(\[[^]]*\] )?mbpool_bench: //p'
