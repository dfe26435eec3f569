"""Plugin of sos (sosreport): the archive of `ztpd report`, without position, and `ztpd status`.

`ztpd report` leaves this gateway's secrets out; the plugin copies no file of ztpd itself.
"""

from sos.report.plugins import DebianPlugin, Plugin, UbuntuPlugin


class Ztpd(Plugin, DebianPlugin, UbuntuPlugin):
    short_desc = "zero-touch provisioned GNSS corrections"

    plugin_name = "ztpd"
    profiles = ("network", "services")
    packages = ("ztpd",)
    commands = ("ztpd",)

    def setup(self):
        self.add_cmd_output("ztpd status")
        self.add_cmd_output(f"ztpd report --output {self.get_cmd_output_path()}/ztpd-report.tar.gz")
