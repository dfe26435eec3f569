"""The modem: how its IMEI is read, from ModemManager or by AT commands."""
