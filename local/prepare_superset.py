"""What must stand in Superset's database before it is served: tables, roles, the administrator.

Runs in Superset's own environment, all in one process, because each command of its command line loads Superset anew.
The surprising thing: what its `init` once gave to people without a log-in it never takes back; that is done here.
"""

import os
import sys


def main(user_name: str, password: str) -> None:
    """Bring the database up to date; may be done again at any time."""
    from superset.app import create_app

    app = create_app()
    with app.app_context():
        from flask_migrate import upgrade
        from superset import appbuilder, db, security_manager

        upgrade()
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        if not app.config["PUBLIC_ROLE_LIKE"]:
            security_manager.find_role(security_manager.auth_role_public).permissions = []
        administrator = security_manager.find_user(user_name)
        if administrator is None:
            role = security_manager.find_role(security_manager.auth_role_admin)
            address = f"{user_name}@wikiweir.invalid"
            security_manager.add_user(user_name, "Wikiweir", "Administrator", address, role, password)
        else:
            security_manager.reset_password(administrator.id, password)
        db.session.commit()


if __name__ == "__main__":
    main(sys.argv[1], os.environ["WIKIWEIR_SUPERSET_PASSWORD"])
