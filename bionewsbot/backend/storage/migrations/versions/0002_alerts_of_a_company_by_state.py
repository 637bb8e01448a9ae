"""An index for the alerts of one company in one state."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = "ix_alerts_company_id_state_created_at_id"


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_index(NAME, "alerts", ["company_id", "state", "created_at", "id"])


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_index(NAME, table_name="alerts")
