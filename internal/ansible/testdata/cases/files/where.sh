#!/bin/sh
echo $(id -un) ${SSH_CONNECTION##* }
