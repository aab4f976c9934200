"""The permissions that queries ask for."""

from __future__ import annotations

from typing import Any, Final

_TABLE: Final = """
auth cortex
auth.role cortex
auth.role.add cortex
auth.role.del cortex
auth.role.set cortex
auth.role.set.name cortex
auth.role.set.rules cortex
auth.self cortex
auth.self.set cortex
auth.self.set.apikey cortex yes
auth.self.set.email cortex yes
auth.self.set.name cortex yes
auth.self.set.passwd cortex yes
auth.user cortex
auth.user.add cortex
auth.user.del cortex
auth.user.get cortex
auth.user.get.profile.<varname> cortex
auth.user.grant cortex
auth.user.pop cortex
auth.user.pop.profile.<varname> cortex
auth.user.revoke cortex
auth.user.set cortex
auth.user.set.admin cortex
auth.user.set.apikey cortex
auth.user.set.archived cortex
auth.user.set.email cortex
auth.user.set.locked cortex
auth.user.set.passwd cortex
auth.user.set.profile.<varname> cortex
auth.user.set.rules cortex
axon cortex
axon.has cortex
axon.upload cortex
cron cortex
cron.add view
cron.del cronjob
cron.get cronjob
cron.kill cronjob
cron.set cronjob
cron.set.creator cortex
feed:data cortex
feed:data.syn.nodes cortex
globals cortex
globals.get cortex
globals.get.<varname> cortex
globals.pop cortex
globals.pop.<varname> cortex
globals.set cortex
globals.set.<varname> cortex
layer cortex
layer.add cortex
layer.edits.read layer
layer.write layer
layer.del layer
layer.read layer
layer.set layer
layer.set.name layer
model cortex
model.edge cortex
model.edge.add cortex
model.edge.del cortex
model.form cortex
model.form.add cortex
model.form.add.<form> cortex
model.form.del cortex
model.form.del.<form> cortex
model.prop cortex
model.prop.add cortex
model.prop.add.<form> cortex
model.prop.del cortex
model.prop.del.<form> cortex
model.tagprop cortex
model.tagprop.add cortex
model.tagprop.del cortex
model.type cortex
model.type.add cortex
model.type.add.<type> cortex
model.type.del cortex
model.type.del.<type> cortex
model.univ cortex
model.univ.add cortex
model.univ.del cortex
node layer
node.add layer
node.add.<form> layer
node.data layer
node.data.pop layer
node.data.pop.<varname> layer
node.data.set layer
node.data.set.<varname> layer
node.del layer
node.del.<form> layer
node.edge layer
node.edge.add layer
node.edge.add.<verb> layer
node.edge.del layer
node.edge.del.<verb> layer
node.prop layer
node.prop.del layer
node.prop.del.<form> layer
node.prop.del.<form>.<prop> layer
node.prop.set layer
node.prop.set.<form> layer
node.prop.set.<form>.<prop> layer
node.tag layer
node.tag.add layer
node.tag.add.<tag> layer
node.tag.del layer
node.tag.del.<tag> layer
pkg cortex
pkg.add cortex
pkg.del cortex
queue cortex
queue.add cortex
queue.del queue
queue.get queue
queue.put queue
service cortex
service.add cortex
service.del cortex
service.get cortex
service.list cortex
storm cortex
storm.graph cortex
storm.graph.add cortex yes
storm.lib.auth.roles.add cortex
storm.lib.auth.roles.del cortex
storm.lib.auth.users.add cortex
storm.lib.auth.users.del cortex
storm.inet.imap.connect cortex
storm.inet.smtp.send cortex
storm.lib.axon.del cortex
storm.lib.axon.get cortex
storm.lib.axon.has cortex
storm.lib.axon.wget cortex
storm.lib.axon.wput cortex
storm.lib.inet.http.proxy cortex
storm.lib.cortex.httpapi.add cortex
storm.lib.cortex.httpapi.del cortex
storm.lib.cortex.httpapi.get cortex
storm.lib.cortex.httpapi.set cortex
storm.lib.log.debug cortex
storm.lib.log.error cortex
storm.lib.log.info cortex
storm.lib.log.warning cortex
storm.macro cortex
storm.macro.add cortex yes
storm.macro.admin cortex
storm.macro.edit cortex
trigger cortex
trigger.add view
trigger.del trigger
trigger.get trigger
trigger.set trigger
trigger.set.async trigger
trigger.set.doc trigger
trigger.set.enabled trigger
trigger.set.name trigger
trigger.set.storm trigger
trigger.set.user cortex
view cortex
view.add cortex
view.del view
view.fork view yes
view.read view
view.set view
view.set.name view
"""


def _definition(line: str) -> dict[str, Any]:
    path, gate, *default = line.split()
    return {
        "perm": path.split("."),
        "gate": gate,
        "desc": f"Whether a user may do {path}, asked of the {gate} first.",
        "default": bool(default),
    }


PERMISSIONS: Final = tuple(_definition(line) for line in _TABLE.split("\n") if line)
"""Each as `$lib.auth.getPermDefs()` gives it."""

BY_PATH: Final = {tuple(known["perm"]): known for known in PERMISSIONS}
